"""Kernel parameters without a file: by command line, kernel defaults, modules."""

from __future__ import annotations

import re

from nodespec.checks import _kernel_names, _sysctl_at_boot, _sysctl_values
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Optional, Union

BUILD_OPTIONS = {
    "kernel.panic": "PANIC_TIMEOUT",
    "kernel.panic_on_oops": "PANIC_ON_OOPS_VALUE",
}  # build options that decide


# Parameters of the command line that set them.
CMDLINE_PARAMETERS = {"kernel.panic": ("panic", r"(-?\d+)"), "kernel.panic_on_oops": ("oops", "(panic)")}


def find_default(tree: Tree, key: str, at: Evidence) -> Optional[Observation[str]]:
    """Return the initial value of the kernel, if it is known."""
    given = _read_cmdline_value(tree, key)
    if given:
        return given
    if key in _sysctl_values.DEFAULTS:
        return Value(_sysctl_values.DEFAULTS[key], at._replace(line=0, inferred=True))
    if key not in BUILD_OPTIONS:
        return None
    from nodespec.checks import _kernel_config  # noqa: PLC0415

    option = _kernel_config.read_options_at_rest(tree).observe(BUILD_OPTIONS[key])
    if not isinstance(option, Value) or not re.fullmatch(r"-?\d+", str(option.value)):
        return None
    return Value(str(option.value), option.evidence._replace(inferred=True))


def _read_cmdline_value(tree: Tree, key: str) -> Union[Value[str], Unknown, None]:
    """Return the value on the command line.

    It is set by `sysctl.vm.swappiness=10`, or by a parameter of its own.
    """
    from nodespec.checks import _boot_cmdline  # noqa: PLC0415

    line = _boot_cmdline.resolve_cmdline(tree)
    word, form = CMDLINE_PARAMETERS.get(key, ("", ""))
    own = f"sysctl.{key}".replace("-", "_")
    unknown = _boot_cmdline.find_open_parameter(tree, word, own, own.replace(".", "/"))
    if unknown or not isinstance(line, Value):
        return unknown
    pairs = _kernel_names.parse_cmdline(line.value.text)
    # The kernel takes `sysctl.vm.swappiness` and `sysctl/vm/swappiness` as the same.
    parameters = {name.replace("/", ".") if name.startswith("sysctl") else name: value for name, value in pairs}
    match = re.fullmatch(form, parameters[word]) if word in parameters else None
    text = parameters.get(own, match[1].replace("panic", "1") if match else None)
    if text is None:
        return None
    written = _sysctl_values.simulate_write(key, text, _sysctl_values.DEFAULTS.get(key))
    return None if written.value is None else _sysctl_at_boot.observe_write(written, line.evidence)


def read_module_loader(tree: Tree) -> Observation[str]:
    """Return the program that loads modules, by kernel.modprobe; absent if not set."""
    key = "kernel.modprobe"
    files = _sysctl_at_boot.read_sysctl_files(tree)
    loader = (files.value.observe(key) if isinstance(files, Value) else None) or _read_cmdline_value(tree, key)
    if loader:
        return loader
    if isinstance(files, Unknown) and files.reason != DEFERRED and _sysctl_at_boot.may_contain_word(tree, "modprobe"):
        return files
    if isinstance(tree.entry("/nix/store"), Value):
        return Unknown(DEFERRED, "only a running machine can tell: NixOS sets kernel.modprobe when it boots")
    return Absent(Evidence(":".join(_sysctl_at_boot.FOLDERS)))
