"""The library of specs."""
