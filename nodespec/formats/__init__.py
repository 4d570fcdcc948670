"""Decoders of other programs' formats: standard library only, raise ValueError, know nothing of nodespec."""
