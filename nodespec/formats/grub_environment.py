"""Parse a grubenv, the file of variables that survive a boot.

# GRUB Environment Block
saved_entry=0
"""

from __future__ import annotations

from nodespec.formats.grub_test import ANY
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict

HEADER = "# GRUB Environment Block\n"  # The first line of a grubenv.


def parse_environment(text: str) -> Dict[str, str]:
    r"""Parse a grubenv: lines such as `saved_entry=0`, padded with `#`.

    `\` escapes the next character.
    """
    if not text.startswith(HEADER):
        raise ValueError("grubenv must begin with `# GRUB Environment Block`; GRUB does not read it")
    variables: Dict[str, str] = {}
    line, escaped = "", False
    for char in text.replace(ANY, "?"):
        if char == "\n" and not escaped:
            name, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                variables[name] = value
            line = ""
        elif char == "\\" and not escaped:
            escaped = True
        else:
            line, escaped = line + char, False
    return variables
