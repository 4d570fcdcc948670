"""Parse resolv.conf(5) as the kubelet does.

`nameserver 10.0.0.2` adds a server. The last `search` or `domain` counts, and options add up.
"""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import List, Tuple


KEYWORDS = re.compile(r"(?m)^\s*(nameserver|domain|search|options|sortlist|lookup|family)(\s|$)")


class ResolverConfig(NamedTuple):
    """Servers in order, search domains and options."""

    servers: Tuple[str, ...]
    search: Tuple[str, ...]
    options: Tuple[str, ...]


def parse_resolv_conf(text: str) -> ResolverConfig:
    """Parse the lines; comments, unknown keywords and keywords without a value do not count.

    Raises ValueError for a text without any keyword that is not empty.
    """
    if not KEYWORDS.search(text) and any(line.strip() and line.strip()[0] not in "#;" for line in text.split("\n")):
        raise ValueError("no keyword of resolv.conf found")
    servers: List[str] = []
    search: Tuple[str, ...] = ()
    options: List[str] = []
    for line in text.split("\n"):
        words = line.split()
        if len(words) < 2:  # noqa: PLR2004 - a keyword and a value
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = tuple(words[1:2] if words[0] == "domain" else words[1:])
        elif words[0] == "options":
            options += words[1:]
    return ResolverConfig(tuple(servers), search, tuple(options))
