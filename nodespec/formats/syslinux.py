"""The configuration of SYSLINUX and EXTLINUX, which U-Boot also reads.

    DEFAULT linux
    LABEL linux
      LINUX ../vmlinuz
      APPEND root=/dev/vda1

https://wiki.syslinux.org/wiki/index.php?title=Config. Raises ValueError for a text that is too long or includes itself.
"""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple, TypeAlias

MAX_FILES = 16  # Files, including included ones.
MAX_LABELS = 512
MAX_LINE = 1 << 14  # Characters. Longer lines are ignored.
MENUS = ("menu.c32", "vesamenu.c32", "gfxboot.c32")
KERNELS = ("linux", "kernel", "fdt")
OTHERS = ("com32", "boot", "bss", "pxe", "fdimage", "localboot", "config", "comboot")

Include: TypeAlias = "Callable[[str], Optional[str]]"  # Returns a file by its path as written; None if it is not found.


class Label(NamedTuple):
    """A kernel of the menu. `other` is what it starts instead of Linux."""

    name: str
    file: str
    line: int
    kernel: str = ""
    append: Optional[str] = None
    other: str = ""
    more: bool = False  # SYSAPPEND: the loader adds its own parameters.


class SyslinuxConfig:
    """A parsed configuration, with the files that it includes."""

    def __init__(self, path: str, text: str, include: Include) -> None:
        self.labels: List[Label] = []
        self.default = self.ontimeout = self.append = ""
        self.interface = False  # Whether a menu is shown.
        self.prompt = self.timeout = 0
        self.marked: Optional[str] = None  # The label with MENU DEFAULT.
        self._include, self._files = include, 0
        self._read_lines(path, text)

    def started(self) -> Tuple[str, ...]:
        """Return the default label, or both labels if SYSLINUX and U-Boot differ.

        An empty name is the first label.
        """
        default = "" if self.default.partition(" ")[0].rpartition("/")[2] in MENUS else self.default
        waits = self.interface or (self.prompt and self.timeout)
        own = self.marked if self.interface and self.marked else default
        syslinux = self.ontimeout if self.ontimeout and waits else own
        uboot = self.ontimeout or self.marked or default
        if not self.default and not self.interface:
            return (uboot,)  # SYSLINUX requires DEFAULT or UI to start anything without input.
        return tuple(dict.fromkeys((syslinux, uboot)))

    def options(self, label: Label) -> str:
        """Return the command line of a label: its own APPEND, or the global one."""
        own = self.append if label.append is None else label.append
        return "" if own.strip() == "-" else own

    def _read_lines(self, path: str, text: str) -> None:
        self._files += 1
        if self._files > MAX_FILES:
            raise ValueError(f"{path}: more than {MAX_FILES} files are included")
        for number, line in enumerate(text.split("\n"), 1):
            words = line.strip().split(None, 1) if len(line) <= MAX_LINE else []
            if words and not words[0].startswith("#"):
                self._apply_field(path, number, words[0].lower(), words[1].strip() if len(words) > 1 else "")

    def _apply_field(self, path: str, number: int, field: str, value: str) -> None:
        if field == "menu":
            self._apply_menu(path, number, value)
        elif field == "include":
            self._include_file(path, number, value)
        elif field == "label":
            if len(self.labels) >= MAX_LABELS:
                raise ValueError(f"{path}: more than {MAX_LABELS} labels")
            self.labels.append(Label(value, path, number))
        elif field == "default":
            self.default = value
            self.interface = self.interface or value.partition(" ")[0].rpartition("/")[2] in MENUS
        elif field == "ontimeout":
            self.ontimeout = value
        elif field == "ui":
            self.interface = True
        elif field in ("prompt", "timeout"):
            setattr(
                self, field, int(value) if value.isascii() and value.isdigit() and len(value) < len("100000") else 0
            )
        elif not self.labels:
            self.append = value if field == "append" else self.append
        else:
            self._apply_label_field(path, number, field, value)

    def _apply_label_field(self, path: str, number: int, field: str, value: str) -> None:
        label = self.labels[-1]
        changes: Dict[str, object] = {}
        if field in ("linux", "kernel"):
            other = value if value.lower().endswith((".c32", ".com", ".cbt", ".bin", ".0")) else ""
            changes = {"kernel": value, "other": other, "file": path, "line": number}
        elif field == "append":
            changes = {"append": value}
        elif field in OTHERS:
            changes = {"other": f"{field} {value}".strip()}
        elif field in ("ipappend", "sysappend"):
            changes = {"more": value not in ("", "0")}
        self.labels[-1] = label._replace(**changes)  # type: ignore[arg-type]  # the names and types are those of Label

    def _apply_menu(self, path: str, number: int, value: str) -> None:
        word, _, rest = value.partition(" ")
        if word.lower() == "default" and self.labels and not rest.strip():
            self.marked = self.labels[-1].name
        elif word.lower() == "include":
            self._include_file(path, number, rest.strip())

    def _include_file(self, path: str, number: int, value: str) -> None:
        name = value.split(" ", maxsplit=1)[0]
        text = self._include(name)
        if text is None:
            raise ValueError(f"{path}:{number}: included file `{name}` not found")
        self._read_lines(name, text)
