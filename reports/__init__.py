"""The renderers: one module a format. A report goes in, text comes out; none decides."""

FORMATS = ("text", "json", "junit", "markdown", "html")
