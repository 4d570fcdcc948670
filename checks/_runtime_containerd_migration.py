"""Settings that containerd 2.x moves from the CRI plugin of version 2 to the plugins of version 3."""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Value

if TYPE_CHECKING:
    from typing import Dict, TypeAlias, Union

    Table: TypeAlias = "Dict[str, Union[Table, Value[object]]]"


def migrate_services(old: Table, runtime: Table, images: Table) -> None:
    """Move the settings of images, devices and networks, as migrateConfig of both plugins does."""
    if "sandbox_image" in old:
        pinned = images.setdefault("pinned_images", {})
        if isinstance(pinned, dict):
            pinned["sandbox"] = old["sandbox_image"]
    if "registry" in old:
        images["registry"] = old["registry"]
    if "enable_cdi" in old:
        runtime.setdefault("enable_cdi", old["enable_cdi"])
    network = old.get("cni")
    if isinstance(network, dict):
        moved = runtime.setdefault("cni", {})
        if not isinstance(moved, dict):
            return
        for key, value in network.items():
            if key == "bin_dir" and isinstance(value, Value):  # 2.4 has only the list.
                moved.setdefault("bin_dirs", Value([value.value], value.evidence))
            else:
                moved.setdefault(key, value)
