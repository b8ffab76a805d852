"""What functions import: callers of the extensions' local servers. Nothing here needs more than the standard library."""
