"""The author's half: nothing below this directory runs on a node."""
