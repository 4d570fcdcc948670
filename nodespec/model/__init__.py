"""Records and nothing else: what is required, what was observed, what was found, who was looked at."""
