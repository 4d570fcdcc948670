"""Judge a stored report again and compare."""
