"""State of the evaluation of a grub.cfg: variables, functions and menu entries.

A variable whose value only the machine knows has the value ANY, and one with a value by branch has several.
"""

from __future__ import annotations

from nodespec.formats.grub_test import ANY
from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, List, Optional, Set, Tuple, TypeAlias

    from nodespec.formats.grub_syntax import Block

MAX_VALUES = 8  # Values of a variable at the same time.
MAX_CHARS = 8192  # Characters of a value.
MAX_MENU = 512  # Menu entries.
Values: TypeAlias = "Tuple[str, ...]"
FEATURE_VARIABLES = (
    *("feature_chainloader_bpb", "feature_ntldr", "feature_platform_search_hint", "feature_default_font_path"),
    *("feature_all_video_module", "feature_menuentry_id", "feature_menuentry_options", "feature_200_final"),
    *("feature_nativedisk_cmd", "feature_timeout_style", "feature_search_cryptodisk_only"),
)
MACHINE_VARIABLES = (
    "root",
    "grub_platform",
    "grub_cpu",
    "cmdpath",
    "lockdown",
    "shim_lock",
    "check_signatures",
    "fw_path",
)


class GrubEntry(NamedTuple):
    """A menu entry, or a `submenu`, with its file and line."""

    title: str
    id: str
    file: str
    line: int
    body: Block = ()
    submenu: bool = False
    args: Tuple[str, ...] = ()


class GrubKernel(NamedTuple):
    """The kernel that `linux PATH OPTIONS` loads.

    If there are several values of the options, it is not known which of them is used.
    """

    path: str
    options: Values
    file: str
    line: int
    entry: str


class UndecidedConditionError(ValueError):
    """The default entry depends on state that only the machine knows."""


class MenuReplacedError(Exception):
    """`configfile`: the menu of another file replaces this one."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state


class BlockEndedError(Exception):
    """`return`, `exit` or `break`."""


class State:
    """The state of the evaluation: variables, functions and menu entries.

    For the script of an entry it includes the kernel that the entry loads.
    """

    def __init__(self, prefix: str, file: str) -> None:
        self.file = file
        self.variables: Dict[str, Values] = dict.fromkeys(FEATURE_VARIABLES, ("y",))
        self.variables.update((name, (ANY,)) for name in MACHINE_VARIABLES)
        self.variables["menuentry_id_option"] = ("--id",)  # Every generated grub.cfg sets this value.
        self.variables.update(prefix=(prefix,), config_directory=(file.rpartition("/")[0],), config_file=(file,))
        self.exported: Set[str] = {
            "prefix",
            "config_directory",
            "config_file",
            *FEATURE_VARIABLES,
            *MACHINE_VARIABLES,
            "menuentry_id_option",
        }
        self.functions: Dict[str, Block] = {}
        self.items: List[Tuple[GrubEntry, bool]] = []  # The flag is true if the entry is certain.
        self.kernels: Tuple[Optional[GrubKernel], ...] = (None,)
        self.args: Optional[Tuple[str, ...]] = None  # None outside of functions and entries.
        self.other = ""  # A command that starts something other than Linux.

    def copy(self) -> State:
        """Return an independent copy of the state."""
        other = object.__new__(State)
        other.__dict__.update(self.__dict__)
        other.variables, other.exported = dict(self.variables), set(self.exported)
        other.functions, other.items = dict(self.functions), list(self.items)
        return other

    def context(self, file: str) -> State:
        """Return the context of a submenu or `configfile`: exported variables, no entries."""
        inner = self.copy()
        inner.variables = {name: value for name, value in self.variables.items() if name in self.exported}
        inner.file, inner.items, inner.kernels, inner.other = file, [], (None,), ""
        return inner

    def merge(self, left: State, right: State) -> None:
        """Set the state to the union of two states after a condition that is not known."""
        names = (*left.variables, *right.variables)
        self.variables = {name: _unite_values(left.variables.get(name), right.variables.get(name)) for name in names}
        self.exported = left.exported & right.exported
        self.functions = {**left.functions, **right.functions}
        for name, body in left.functions.items():
            if right.functions.get(name, body) != body:
                raise ValueError(f"{self.file}: the function `{name}` is defined in two ways")
        start = len(self.items)
        more = left.items[start:], right.items[start:]
        sure = more[0] == more[1]
        self.items += more[0] if sure else [(entry, False) for entry, _ in (*more[0], *more[1])]
        self.kernels = tuple(dict.fromkeys((*left.kernels, *right.kernels)))
        self.other = left.other or right.other


def _unite_values(left: Optional[Values], right: Optional[Values]) -> Values:
    found = tuple(dict.fromkeys((*(left or ("",)), *(right or ("",)))))
    return (ANY,) if ANY in found or len(found) > MAX_VALUES else found


def add_entry(state: State, entry: GrubEntry) -> bool:
    """Add a certain menu entry. Raises ValueError if there are too many."""
    if len(state.items) >= MAX_MENU:
        raise ValueError(f"{state.file}: more than {MAX_MENU} menu entries")
    state.items.append((entry, True))
    return True
