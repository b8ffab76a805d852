"""The rules of the Lambda APIs, without I/O: no socket, clock, thread or environment is touched below this folder."""
