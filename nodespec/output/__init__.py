"""Findings and facts to text in a file or terminal."""
