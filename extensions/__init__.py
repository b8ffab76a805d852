"""The extensions that come with the kit; each folder is one, and none imports another."""
