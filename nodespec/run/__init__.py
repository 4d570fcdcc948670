"""One command on a node: choose the target, judge, write; one host or a fleet."""
