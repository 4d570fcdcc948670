"""Lay out lines for a terminal: labels, wrapped paragraphs, shortened lists, links."""

from __future__ import annotations

from functools import lru_cache

from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.report import Finding, Style
from nodespec.records import NamedTuple
from nodespec.reports import words

if TYPE_CHECKING:
    from typing import Iterator, List, Sequence, Tuple

LABEL_COLUMNS = 9  # The width of a label: fail, unknown, warning, deferred.
DETAIL_COLUMNS = LABEL_COLUMNS + 6  # The same with the label of a detail: fix, seen, why, hint, see.
MAX_LISTED = 8  # Items of a list without --all.
MAX_LIST_LINES = 3  # Lines of a list of ids without --all.
BOLD = "1"
LABEL_COLOURS = {
    "fail": "31",
    "unknown": "35",
    "warning": "33",
    "waived": "36",
    "pass": "32",
    "notice": "1;33",
}
MAX_MEMOIZED = 2000  # Wrapped paragraphs.
CONCLUSION_COLOURS = {"conformant": "1;32", "nonconformant": "1;31", "indeterminate": "1;35"}
# The outcome and disposition that the label of a section implies.
IMPLIED = {words.WARNING: ("fail", "advisory"), words.WAIVED: ("fail", "waived"), words.SKIPPED: ("skipped", "skipped")}


class TextPage(NamedTuple):
    """Lines with a margin of labels, and wrapped text."""

    style: Style

    def paint(self, text: str, colour: str) -> str:
        """Return text in a color; the words alone carry the meaning."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self.style.colour and colour else text

    def link(self, url: str) -> str:
        """Return a URL; a terminal gets it as a link (OSC 8), unless another character could end the sequence."""
        if not self.style.links or not url.isprintable() or not url.isascii():
            return url
        return f"\x1b]8;;{url}\x1b\\{url}\x1b]8;;\x1b\\"

    def entry(self, label: str, text: str, hang: int = LABEL_COLUMNS) -> Iterator[str]:
        """Yield a labeled paragraph."""
        first, *rest = wrap_words(label.ljust(LABEL_COLUMNS), text, hang, self.style.width)
        yield self.paint(first[: len(label)], LABEL_COLOURS.get(label, "")) + first[len(label) :]
        yield from rest

    def detail(self, label: str, text: str) -> Iterator[str]:
        """Yield a paragraph below an entry, or nothing for an empty text."""
        lead = " " * LABEL_COLUMNS + label.ljust(DETAIL_COLUMNS - LABEL_COLUMNS)
        if text:
            yield from wrap_words(lead, text, len(lead), self.style.width)

    def list(self, items: Sequence[str]) -> Iterator[str]:
        """Yield names below an entry."""
        yield from wrap_words(" " * LABEL_COLUMNS, ", ".join(self.few(items)), LABEL_COLUMNS, self.style.width)

    def column(self, names: Sequence[str]) -> int:
        """Return the width of a column of names.

        It is that of the longest name that takes two fifths of the page at most.
        """
        return max((len(name) for name in names if len(name) <= self.style.width * 2 // 5), default=0)

    def few(self, items: Sequence[str]) -> Tuple[str, ...]:
        """Return the items, or the first few of them and the number of others."""
        if self.style.every or len(items) <= MAX_LISTED:
            return tuple(items)
        return (*items[:MAX_LISTED], f"and {self.more(len(items) - MAX_LISTED)}")

    def fitting(self, lead: str, items: Sequence[str]) -> str:
        """Return the items as a list, shortened to `MAX_LIST_LINES` lines after a lead; one item at least is named."""
        columns = MAX_LIST_LINES * (self.style.width - LABEL_COLUMNS) - len(lead) - len(self.more(len(items)))
        shown = 1
        while shown < len(items) and len(", ".join(items[: shown + 1])) <= columns:
            shown += 1
        more = () if shown >= len(items) else (f"and {len(items) - shown} more",)
        return ", ".join((*items[:shown], *more))

    def more(self, count: int) -> str:
        """Return the text that replaces more items."""
        return f"{count} more (--all lists them)"


@lru_cache(MAX_MEMOIZED)  # A text of several hosts is wrapped once.
def wrap_words(lead: str, text: str, hang: int, width: int) -> Sequence[str]:
    """Wrap words as textwrap does without breaking any.

    textwrap itself took a fifth of the time of a report.
    """
    room, indent = max(width, hang + 20), " " * hang
    lines: List[str] = []
    line, blanks, begun = lead, "", False
    for word in text.split(" "):
        if not word:
            blanks += " "
            continue
        if begun and len(line) + len(blanks) + len(word) > room:
            lines.append(line)
            line, blanks = indent, ""
        line, blanks, begun = line + blanks + word, " ", True
    return [*lines, line if begun else line.rstrip()]


def describe_aside(section: str, finding: Finding) -> str:
    """Return outcome and disposition, unless the label of the section implies them."""
    implied = IMPLIED.get(section, (section, "enforced"))
    others = [one for one in (finding.outcome, finding.disposition) if one not in implied]
    return f" ({', '.join(others)})" if others else ""
