"""config.txt of a Raspberry Pi's firmware, which names the kernel that it starts.

    [pi4]
    kernel=kernel8.img

https://www.raspberrypi.com/documentation/computers/config_txt.html
"""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple, TypeAlias

MAX_FILES = 16  # Files, including included ones.
MAX_LINE = 4096  # Characters. Longer lines are ignored.
Settings: TypeAlias = "Dict[str, Tuple[str, ...]]"


def parse(text: str, include: Callable[[str], Optional[str]]) -> Settings:
    """Return the possible values of each setting.

    There are several if a filter such as `[pi4]` applies to a line.
    """
    settings: Dict[str, List[str]] = {}
    _read_settings(text, include, settings, [0])
    return {name: tuple(values) for name, values in settings.items()}


def _read_settings(
    text: str, include: Callable[[str], Optional[str]], settings: Dict[str, List[str]], files: List[int]
) -> None:
    files[0] += 1
    if files[0] > MAX_FILES:
        raise ValueError(f"more than {MAX_FILES} files are included")
    always, never = True, False
    for line in (line.strip() for line in text.split("\n") if len(line) <= MAX_LINE):
        head = re.fullmatch(r"\[([^\]]+)\]", line)
        if head:
            always, never = head[1].lower() == "all", head[1].lower() == "none"
        elif never or not line or line[0] == "#":
            continue
        elif line.startswith("include "):
            inner = include(line[8:].strip())
            if inner is not None:
                _read_settings(inner, include, settings, files)
        else:
            name, equals, value = line.partition("=")
            if not equals:
                name, _, value = line.partition(" ")
            _add_value(settings, name.strip(), value.strip(), always=always)


def _add_value(settings: Dict[str, List[str]], name: str, value: str, *, always: bool) -> None:
    """Add a value, or replace the values before it if it applies to all models."""
    before = [] if always else settings.get(name, [""])
    settings[name] = list(dict.fromkeys([*before, value]))
