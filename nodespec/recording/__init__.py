"""Observations as JSON: codec, tee, replay, file."""
