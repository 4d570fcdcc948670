"""Run one command on a node: select the target, judge, write; one host or a fleet."""
