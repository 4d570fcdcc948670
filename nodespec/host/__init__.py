"""The machine or tree under examination: the only code that opens its files, sockets and programs."""
