"""YAML and foreign specs to a plan; JSON Schema; precompiled plans."""
