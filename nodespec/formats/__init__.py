"""Decoders of other programs' formats.

They use the standard library only, raise ValueError, and do not depend on facts, specs or reports.
"""
