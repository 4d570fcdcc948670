"""The kernel that the next boot starts: architecture, command line, lockdown mode."""

from __future__ import annotations

from nodespec.checks import _boot_cmdline, _boot_next, _kernel_config, _kernel_image, _kernel_names, _kernel_version
from nodespec.facts.declaration import Rows
from nodespec.facts.value_types import Datum
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict

RUNNING_ONLY = Unknown(DEFERRED, "only a running machine can tell")
ADDED_BY_LOADER = Unknown(DEFERRED, "only a running machine can tell: the boot loader adds to the command line")

# Options that exist on one architecture only.
ARCHITECTURES = {
    "X86_64": "x86_64",
    "ARM64": "aarch64",
    "S390": "s390x",
    "ARCH_RV64I": "riscv64",
    "LOONGARCH": "loongarch64",
    "PPC64": "ppc64le",
}


def resolve_architecture(tree: Tree) -> Observation[str]:
    """Return the architecture, by the head of the kernel's file, else by its options."""
    kernel = _boot_next.resolve_kernel_at_rest(tree)
    if not isinstance(kernel, Value):
        return kernel
    head = _kernel_image.read_architecture(tree, kernel.value.installed.path) if kernel.value.installed.image else None
    if isinstance(head, Value):
        return head
    rows = _kernel_config.read_options_at_rest(tree)
    for option, machine in ARCHITECTURES.items():
        row = rows.observe(option)
        if isinstance(row, Value) and row.value == "y":
            return Value(machine, row.evidence)
    return Unknown(
        DEFERRED, f"only a running machine can tell: no file of the kernel {kernel.value.release} has its architecture"
    )


def list_parameters(tree: Tree) -> Rows[Datum]:
    """Return the parameters that the boot loader's configuration gives the kernel."""
    line = _boot_cmdline.resolve_cmdline(tree)
    if not isinstance(line, Value):
        return Rows.lacking(line)
    rows: Dict[str, Observation[Datum]] = dict.fromkeys(_boot_cmdline.LOADER_PARAMETERS, ADDED_BY_LOADER)
    rows.update(
        (name, Value(value, line.evidence)) for name, value in _kernel_names.collect_values(line.value.text).items()
    )
    rows.update(dict.fromkeys(line.value.open, ADDED_BY_LOADER))
    rest = Absent(line.evidence) if line.value.whole else ADDED_BY_LOADER
    return _kernel_version.make_parameter_rows(line.value.text, line.evidence, rows, rest)


def resolve_lockdown(tree: Tree) -> Observation[str]:
    """Return the lockdown mode on the command line.

    If it is not set, Secure Boot may enable one.
    """
    built = _kernel_config.read_options_at_rest(tree).observe("SECURITY_LOCKDOWN_LSM")
    if isinstance(built, Value) and built.value in ("n", "undefined"):
        return Absent(built.evidence)
    line = _boot_cmdline.resolve_cmdline(tree)
    asked = dict(_kernel_names.parse_cmdline(line.value.text)).get("lockdown", "") if isinstance(line, Value) else ""
    if isinstance(line, Value) and asked in ("integrity", "confidentiality"):
        return Value(asked, line.evidence._replace(inferred=True))
    release = _kernel_version.read_kernel_release(tree)
    return release if isinstance(release, Unknown) else RUNNING_ONLY
