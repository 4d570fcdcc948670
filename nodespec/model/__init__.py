"""Data records: plan, observations, report, and the host that was observed."""
