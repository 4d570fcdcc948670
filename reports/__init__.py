"""Renderers, with one module a format: a report becomes text, nothing is judged."""

FORMATS = ("text", "json", "junit", "markdown", "html")
