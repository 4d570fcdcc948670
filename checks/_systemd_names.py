"""Names of units: plain ones, templates and instances.

https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html
"""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Iterator

TYPES = ("service", "socket", "target", "swap", "mount", "automount", "timer", "path", "slice", "device", "scope")
NAME = re.compile(r"[A-Za-z0-9:_.\\-]+(?:@[A-Za-z0-9:_.\\@-]*)?\.(?:" + "|".join(TYPES) + ")")
MAX_NAME_CHARS = 255


def is_unit_name(name: str) -> bool:
    """Return whether a name is valid for a unit, template or instance.

    Example: `getty@tty1.service`.
    """
    return len(name) <= MAX_NAME_CHARS and bool(NAME.fullmatch(name)) and not name.startswith((".", "@"))


def get_template(name: str) -> str:
    """Return `getty@.service` for `getty@tty1.service`; empty for other units."""
    prefix, at, suffix = name.partition("@")
    instance, _, kind = suffix.rpartition(".")
    return f"{prefix}@.{kind}" if at and instance else ""


def get_instance(name: str) -> str:
    """Return `tty1` for `getty@tty1.service`; empty for other units."""
    return name.partition("@")[2].rpartition(".")[0]


def set_instance(name: str, instance: str) -> str:
    """Return `getty@tty1.service` for `getty@.service` and `tty1`.

    Any other name is returned unchanged.
    """
    prefix, at, suffix = name.partition("@")
    return f"{prefix}@{instance}{suffix}" if at and suffix.startswith(".") and suffix.count(".") == 1 else name


def is_template(name: str) -> bool:
    """Return whether a name is that of a template: `getty@.service`."""
    return "@." in name and name.partition("@")[2].count(".") == 1


def may_alias(name: str, target: str) -> bool:
    """Return whether a link may make a name an alias of another.

    Both must have the same type. An instance may be an alias of the same instance or of a template only.
    """
    if name == target or not is_unit_name(target) or name.rpartition(".")[2] != target.rpartition(".")[2]:
        return False
    if name.rpartition(".")[2] in ("mount", "slice", "swap", "automount"):
        return False
    if "@" not in name or "@" not in target:
        return "@" not in name and "@" not in target
    if is_template(target):
        return True
    return not is_template(name) and get_instance(name) == get_instance(target)


def list_name_levels(name: str) -> Iterator[str]:
    """Yield `a-b-c.service`, `a-b-.service`, `a-.service`.

    At each level an instance is followed by its template.
    """
    stem, _, kind = name.rpartition(".")
    prefix, at, instance = stem.partition("@")
    while True:
        yield f"{prefix}{at}{instance}.{kind}"
        if at and instance:
            yield from list_name_levels(f"{prefix}@.{kind}")
        shorter = prefix.removesuffix("-")
        cut = shorter.rfind("-")
        if cut <= 0:
            return
        prefix = shorter[: cut + 1]
