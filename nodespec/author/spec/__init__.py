"""Resolve YAML and foreign specs into a plan; JSON Schema; precompiled plans."""
