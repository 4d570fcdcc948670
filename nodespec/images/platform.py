"""Select a container image by its platform, os/architecture[/variant].

Without a platform it is the only image, or the image for the architecture of this machine.
"""

from __future__ import annotations

import os

from nodespec.errors import UsageError
from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import List, Tuple

# From `uname -m` to the name in OCI; other names are equal.
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm/v7",
    "armv6l": "arm/v6",
    "i686": "386",
    "i386": "386",
    "loongarch64": "loong64",
}
_PLAIN = {("arm64", "v8"): "", ("amd64", "v1"): ""}  # Variants that are the default of the architecture.


class Platform(NamedTuple):
    """The platform of an image."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, self)) or "no platform"

    def serves(self, wanted: Platform) -> bool:
        """Return whether it matches a required platform, which may omit the variant."""
        return self == wanted or (not wanted.variant and self[:2] == wanted[:2])


class Image(NamedTuple):
    """A container image. `layers` are paths with their size in bytes, or -1."""

    platform: Platform
    name: str
    key: str  # Equal for two names of the same image.
    layers: Tuple[Tuple[str, int], ...]


def choose_image(root: str, images: List[Image], wanted: str) -> Image:
    """Return the image of the required platform.

    Raises `UsageError` if no image or several images match.
    """
    images = list({(image.key, image.platform): image for image in reversed(images)}.values())[::-1]
    listed = ", ".join(sorted({str(image.platform) for image in images}))
    if not images:
        raise UsageError(f"{root} contains no image of a file system")
    if not wanted and len({image.platform for image in images}) > 1:
        native = _parse_platform(f"linux/{_get_architecture()}")
        fitting = _list_fitting(images, native)
        if not fitting:
            raise UsageError(
                f"{root} contains images for {listed}, and none for this machine; select one with --platform"
            )
    else:
        fitting = _list_fitting(images, _parse_platform(wanted)) if wanted else images
        if not fitting:
            raise UsageError(f"--platform {wanted}: not found in {root}, which has {listed}")
    if len(fitting) > 1:
        names = ", ".join(f"{image.name or image.key} ({image.platform})" for image in fitting)
        raise UsageError(f"{root} contains several images, {names}; copy one of them with `skopeo copy`")
    return fitting[0]


def _list_fitting(images: List[Image], wanted: Platform) -> List[Image]:
    """Return the images for exactly this platform, or those without a variant."""
    return [image for image in images if image.platform == wanted] or [
        image for image in images if image.platform.serves(wanted)
    ]


def _get_architecture() -> str:
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


def _parse_platform(text: str) -> Platform:
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise UsageError(f"--platform {text}: expected OS/ARCH[/VARIANT], for example linux/arm64")
    return normalize_platform(*parts)


def normalize_platform(system: str, architecture: str, variant: str = "") -> Platform:
    """Return a platform, without the variant that is the default of its architecture."""
    return Platform(system, architecture, _PLAIN.get((architecture, variant), variant))
