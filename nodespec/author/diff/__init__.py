"""Compare two views of hosts, two reports or two specs."""
