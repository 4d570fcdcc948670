"""The observed machine or tree.

No other code opens its files and sockets or runs its programs.
"""
