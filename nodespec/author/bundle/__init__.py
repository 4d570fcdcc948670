"""Build the one-file program."""
