"""The container image: built with umoci and no daemon, and run by runc with the host's root at /host.

    python tests/stages/oci_image.py CACHE

As root. The package of the stage `deb` is installed into a tree of trixie. The namespaces, mounts and capabilities are
those of docs/recipes.md. What is found from within the container is compared with what nodespec finds outside,
requirement by requirement. The exit status is 1 where anything is wrong.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Dict, cast

import deb
import debian
from agreement import compared
from container import ALLOWED, LEAST, asked, contained
from unhurried import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodespec.model.json_types import Json

TOP = Path(__file__).parents[2]
LARGEST = 100_000_000  # bytes of the layout


def main(cache: Path) -> int:
    """Return the exit status. Process 1 shows its namespaces where it is one of ours."""
    own = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
    package = deb.kept(cache)
    tree = debian.system("trixie", deb.USING, cache / "deb-trixie")
    with tempfile.TemporaryDirectory(prefix="nodespec-", dir=cache) as name:
        folder = Path(name)
        layout = folder / "layout"
        debian.said("sh", str(TOP / "distribution/build-image"), str(tree), str(package), str(layout))
        (version,) = tags(layout)
        size = sum(path.stat().st_size for path in layout.rglob("*") if path.is_file())
        print(f"image {version}: {digest(layout)}, {size} bytes")
        debian.said("umoci", "unpack", "--image", f"{layout}:{version}", str(folder / "bundle"))
        done = subprocess.run([*own, sys.executable, __file__, str(cache), str(folder / "bundle")], check=False)
    if size > LARGEST:
        print(f"wrong    the image has {size} bytes")
    return done.returncode or int(size > LARGEST)


def tags(layout: Path) -> list[str]:
    """Return the tags of a layout."""
    return debian.said("umoci", "list", "--layout", str(layout)).split()


def digest(layout: Path) -> str:
    """Return the digest of the only manifest of a layout."""
    (manifest,) = json.loads((layout / "index.json").read_text())["manifests"]
    return str(manifest["digest"])


def differences(bundle: Path) -> Iterator[str]:
    """Yield what the container finds otherwise than nodespec outside of it."""
    (shown,) = re.findall(
        r"^```json config\.json\n(.*?)^```$", (TOP / "docs/recipes.md").read_text(), re.MULTILINE | re.DOTALL
    )
    recipe = cast("Dict[str, Dict[str, Json]]", json.loads(shown))
    image = json.loads((bundle / "config.json").read_text())["process"]
    arguments = ["/usr/bin/nodespec", "check", "kubernetes/1.35", "--root", "/host"]
    if image["args"] != arguments:
        yield f"the image runs {image['args']}, not {arguments}"
    said = {name: image[name] for name in ("args", "env", "cwd", "user")}
    config = {**recipe, "process": {**recipe["process"], **said}}
    outside = asked([*PROGRAM, "check", "kubernetes/1.35", "-o", "json"], bundle)
    yield from compared("the image", outside, contained(config, bundle), ALLOWED, least=LEAST)


def inside(bundle: Path) -> int:
    """Return the exit status; print what differs."""
    wrong = list(differences(bundle))
    for line in wrong:
        print(f"wrong    {line}")
    return int(bool(wrong))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        sys.exit(inside(Path(sys.argv[2])))
    if len(sys.argv) != 2:
        sys.exit("usage: oci_image.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))
