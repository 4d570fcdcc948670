"""Verify a stored report: judge its embedded facts again, and compare."""
