"""What a host says, made safe to show: no character that moves a cursor, ends a line or hides another is left."""

from __future__ import annotations

import re

# C0 and C1 controls, line and paragraph separators, bidirectional controls, what takes no room, tags, what XML forbids,
# lone surrogates
_HIDDEN = (  # compiled where there is any
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
LONGEST = 4096


def visible(text: str, longest: int = LONGEST) -> str:
    """One line of text with every hidden character written as its escape, cut after `longest` characters."""
    if text.isascii() and text.isprintable() and len(text) <= longest:  # as almost all is
        return text
    if len(text) > longest:
        text = f"{text[:longest]}... ({len(text)} characters)"
    return re.sub(_HIDDEN, _escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    short = {9: "\\t", 10: "\\n", 13: "\\r"}
    return short.get(code) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")  # noqa: PLR2004
