"""Escape text of a host for output.

No character remains that moves a cursor, ends a line or hides another character.
"""

from __future__ import annotations

import re

# C0 and C1 controls, line and paragraph separators, bidirectional controls, zero-width characters, tags, characters
# that XML forbids, and lone surrogates.
_HIDDEN = (  # Compiled when it is first used.
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
MAX_LINE_CHARS = 4096


def escape_line(text: str, longest: int = MAX_LINE_CHARS) -> str:
    """Return text as one line, with hidden characters escaped, truncated to `longest`.

    `longest` is in characters.
    """
    if text.isascii() and text.isprintable() and len(text) <= longest:  # The common case needs no regular expression.
        return text
    if len(text) > longest:
        text = f"{text[:longest]}... ({len(text)} characters)"
    return re.sub(_HIDDEN, _escape_character, text)


def _escape_character(match: re.Match[str]) -> str:
    code = ord(match[0])
    short = {9: "\\t", 10: "\\n", 13: "\\r"}
    return short.get(code) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")  # noqa: PLR2004
