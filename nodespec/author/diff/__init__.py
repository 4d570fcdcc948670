"""The differences of two views, two reports or two specs."""
