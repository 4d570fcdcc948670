"""The options that a kernel was built with: from its configuration, else inferred."""

from __future__ import annotations

from nodespec.checks import _kernel_config, _kernel_version
from nodespec.facts.declaration import Rows
from nodespec.host.tree import Tree
from nodespec.model.observation import Lacking, Unknown, Value


def read_options(tree: Tree) -> Rows[str]:
    """Return the options of the kernel."""
    return tree.once(_read_options)


def read_options_at_rest(tree: Tree) -> Rows[str]:
    """Return the options of the kernel that the next boot starts."""
    release = _kernel_version.read_kernel_release(tree)
    return Rows.lacking(release) if isinstance(release, Unknown) else tree.once(_read_options)


def _read_options(tree: Tree) -> Rows[str]:
    file = tree.once(_kernel_config.read_kernel_config)
    if isinstance(file, Value):
        return _kernel_config.parse_config_rows(file.value, file.evidence)
    from nodespec.checks import _kernel_config_inferred  # noqa: PLC0415

    return Rows(
        lambda name: _kernel_config_inferred.infer_option(tree, name),
        lambda: _kernel_config_inferred.infer_options(tree),
        _explain_unread_config(tree, file),
    )


def _explain_unread_config(tree: Tree, file: Lacking) -> Unknown:
    if isinstance(file, Unknown):
        return file
    if not tree.running:
        say = "no configuration of the kernel was found, and nothing else shows the option"
        return Unknown("not found", say, "install /boot/config-RELEASE, or the kernel's headers")
    look = "make /boot/config-RELEASE visible here, or boot a kernel that shows /proc/config.gz"
    return Unknown(
        "not found", "no configuration of the running kernel was found, and nothing else shows the option", look
    )
