"""Secret cache: secrets, parameters and configurations on localhost, kept for as long as they are good."""
