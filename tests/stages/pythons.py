"""A bundle on the Pythons that nodes have: 3.9, 3.11, 3.13 and 3.14, of Debian's bullseye, bookworm, trixie and sid.

    python tests/stages/pythons.py CACHE

As root. Each runs in the tree of a node, which is mounted so that nothing can be written to it, from a mount that is
read-only and noexec, with this machine's root at /host. What it finds there must be what nodespec finds from its
source, in whatever way it is started, and by way of a recording that it wrote. Where Python is python3-minimal, as on
a copy of bookworm from which the rest is purged, it says so. CACHE keeps the trees. The exit status is 1 where anything
is not as it must be.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import debian

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodespec.model.json_types import Json

TOP = Path(__file__).parents[2]
sys.path.append(str(TOP / "tests"))

from unhurried import PROGRAM, unhurry  # noqa: E402 - that folder is where it lies

SUITES = {"bullseye": "3.9", "bookworm": "3.11", "trixie": "3.13", "sid": "3.14"}
MINIMAL = ("python3", "python3-yaml", "libpython3-stdlib", "python3.11", "libpython3.11-stdlib")  # is not in it
LARGEST = 800_000  # bytes of a bundle: a ConfigMap holds 1 MiB
SPEC = "kubernetes/1.35"
# a spec, and the exit code of judging any machine by it
SPECS = {
    "conformant": ("require: {memory: {total: '>=1Mi'}}", 0),
    "nonconformant": ("require: {memory: {total: '>=1000Ti'}}", 10),
    "indeterminate": ("recommend: {memory: {total: '>=1Mi'}}", 11),
}
WAIVER = {"ids": ["memory.*"], "hosts": ["*"], "reason": "r", "owner": "o", "expires": "2099-12-31"}


class Ran(NamedTuple):
    """What came of a program."""

    code: int
    out: str
    err: str


def main(cache: Path) -> int:
    """The exit status. What is mounted is gone with the process that mounted it, before its folder is removed."""
    own = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")  # process 1 shows its namespaces
    with tempfile.TemporaryDirectory(prefix="nodespec-") as folder:
        return subprocess.run([*own, sys.executable, __file__, str(cache), folder], check=False).returncode


def apart(cache: Path, folder: Path) -> int:
    """Print the results, and last what is wrong; return the exit status. No mounted directory is removed."""
    wrong = list(looked(cache, folder))
    for mistake in wrong:
        print(f"wrong    {mistake}")
    print(f"{len(SUITES)} Pythons, {len(wrong)} errors")
    return int(bool(wrong))


def looked(cache: Path, folder: Path) -> Iterator[str]:
    """What is wrong with any of them."""
    brought, out = folder / "bundles", folder / "out"
    for made in (brought, out):
        made.mkdir()
    yield from bundled(brought)
    version = ran(sys.executable, "-I", str(brought / "whole"), "--version").out
    if not re.fullmatch(rf"nodespec \S+\n{re.escape(SPEC)} sha256:[0-9a-f]{{64}}\n", version):
        yield f"--version says {version!r}"
    for suite, number in SUITES.items():
        try:
            tree = debian.node(suite, cache)
        except RuntimeError as error:
            if suite != "sid":
                raise
            print(f"skipped  {suite} changes every day, and building it failed today: {str(error)[-300:]}")
            continue
        node = Node(tree, folder / suite, brought, out)
        found = node.python("-c", "import platform; print(platform.python_version())").out.strip()
        print(f"{suite}: Python {found}")
        if not found.startswith(f"{number}."):
            yield f"{suite} has Python {found}, not {number}"
        yield from (f"Python {found}: {mistake}" for mistake in judged(node, version))
    yield from (f"python3-minimal: {mistake}" for mistake in minimal(cache, folder, brought))


def bundled(folder: Path) -> Iterator[str]:
    """Make the bundles; the same inputs give the same bytes."""
    for name, (text, _) in SPECS.items():
        spec = folder / f"{name}.yaml"
        spec.write_text(f"nodespec: 1\nname: test/{name}\ntitle: A machine\n{text}\n")
        nodespec("bundle", str(spec), "-o", str(folder / name))
        unhurry(folder / name)
    (folder / "waivers.json").write_text(json.dumps({"nodespec-waivers": 1, "waivers": [WAIVER]}))
    (folder / "bad.json").write_text(json.dumps({"nodespec-waivers": 1, "waivers": [{**WAIVER, "reason": ""}]}))
    nodespec("bundle", SPEC, "-o", str(folder / "whole"))
    nodespec("bundle", SPEC, "-o", str(folder / "again"))
    if (folder / "whole").read_bytes() != (folder / "again").read_bytes():
        yield "the same inputs give other bytes"
    size = (folder / "whole").stat().st_size
    unhurry(folder / "whole")
    print(f"the bundle of {SPEC} has {size} bytes")
    if size >= LARGEST:
        yield f"the bundle has {size} bytes"


class Node:
    """A tree as root of a node on which nothing can be written; bundles at /mnt, this machine's root at /host."""

    def __init__(self, tree: Path, root: Path, brought: Path, out: Path) -> None:
        self.root = root
        root.mkdir()
        mount("--bind", str(tree), str(root))
        for name in ("proc", "sys", "dev"):
            mount("--rbind", f"/{name}", f"{root}/{name}")
        mount("-t", "tmpfs", "tmpfs", f"{root}/media")
        for name in ("host", "out"):
            (root / "media" / name).mkdir()
        mount("--rbind", "/", f"{root}/media/host")
        mount("-o", "remount,bind,ro", f"{root}/media/host")
        mount("--bind", str(out), f"{root}/media/out")
        mount("--bind", str(brought), f"{root}/mnt")
        mount("-o", "remount,bind,ro,noexec", f"{root}/mnt")
        mount("-o", "remount,bind,ro", str(root))

    def python(self, *args: str, stdin: Path | None = None) -> Ran:
        """What the tree's Python says."""
        return self.program("python3", *args, stdin=stdin)

    def program(self, *argv: str, stdin: Path | None = None) -> Ran:
        return ran("chroot", str(self.root), *argv, stdin=stdin)


def judged(node: Node, version: str) -> Iterator[str]:
    """What is wrong with a bundle on one Python."""
    yield from exits(node)
    whole, host = "/mnt/whole", ("--root", "/media/host")
    direct = node.program(whole, "--version")
    if direct.code != 126:
        yield f"/mnt is not noexec: {direct}"
    if node.python("-c", "open('/written', 'w')").code == 0:
        yield "the tree can be written to"
    if (said := node.python(whole, "--version")) != Ran(0, version, ""):
        yield f"--version: {said}"
    outside = f"{node.root}/media/host"
    done = nodespec("check", SPEC, "-o", "json", "--root", outside)
    source = findings(done._replace(out=done.out.replace(outside, host[1])))  # it says where it looks
    stdin = node.root / "mnt/whole"
    starts = {
        "as a file": node.python(whole, "check", *host, "-o", "json"),
        "with -I -S": node.python("-I", "-S", whole, "check", *host, "-o", "json"),
        "over standard input": node.python("-", "check", *host, "-o", "json", stdin=stdin),
        "over standard input with -I -S": node.python("-I", "-S", "-", "check", *host, "-o", "json", stdin=stdin),
    }
    for how, done in starts.items():
        yield from otherwise(how, done, source)
    recorded = node.python(whole, "facts", *host, "-o", "/media/out/node.json.gz")
    if recorded.code:
        yield f"facts -o: {recorded}"
    yield from otherwise(
        "recorded", node.python(whole, "check", "--facts", "/media/out/node.json.gz", "-o", "json"), source
    )
    elsewhere = nodespec("check", SPEC, "--facts", f"{node.root}/media/out/node.json.gz", "-o", "json")
    yield from otherwise("recorded and judged elsewhere", elsewhere, source)
    yield from said_by(node, whole)


def said_by(node: Node, whole: str) -> Iterator[str]:
    """The formats, facts and explain."""
    begins = {
        ("check", "-o", "text"): r"(?:NON)?CONFORMANT|INDETERMINATE",
        ("check", "-o", "junit"): r"<\?xml",
        ("facts", "kernel.version", "os"): r"kernel:\n  version:",
        ("facts",): r"\w+:",
        ("explain",): re.escape(SPEC),
        ("explain", "cgroups.version"): r"\S",
        ("--help",): "usage: preflight",
        ("gate", "install", "--print"): "# /etc/systemd/system/nodespec-gate.service",
    }
    for args, pattern in begins.items():
        done = node.python(whole, *args)
        if done.err or not re.match(pattern, done.out):
            yield f"{' '.join(args)}: {done.code} {done.err or done.out[:200]}"


def exits(node: Node) -> Iterator[str]:
    """The exit codes, as of the program."""
    codes: dict[tuple[str, ...], int] = {(f"/mnt/{name}", "check"): code for name, (_, code) in SPECS.items()}
    codes |= {
        ("/mnt/nonconformant", "check", "--waivers", "/mnt/waivers.json"): 11,  # no required requirement passes
        ("/mnt/nonconformant", "check", "--waivers", "/mnt/bad.json"): 2,
        ("/mnt/nonconformant", "check", "--waivers", "/mnt/none.json"): 2,
        ("/mnt/conformant", "check", "--only", "nothing"): 2,
        ("/mnt/conformant", "chek"): 2,
        ("/mnt/conformant", "check", "-o", "html"): 2,
        ("/mnt/conformant", "check", "-o", "json=/report.json"): 74,  # where nothing can be written
        ("/mnt/conformant", "check", "-o", "json=/media/out/report.json"): 0,
        ("/mnt/conformant", "gate", "install"): 2,
    }
    for argv, code in codes.items():
        done = node.python(*argv)
        if done.code != code or "Traceback" in done.err:
            yield f"{' '.join(argv)} exits {done.code}, not {code}: {done.err}"
        if code == 2 and len(done.err.splitlines()) != 1:
            yield f"{' '.join(argv)} says {done.err!r}"


def minimal(cache: Path, folder: Path, brought: Path) -> Iterator[str]:
    """One sentence, and exit code 2."""
    tree = folder / "minimal-tree"
    debian.said("cp", "--archive", "--reflink=auto", str(debian.node("bookworm", cache)), str(tree))
    debian.said("chroot", str(tree), "dpkg", "--purge", "--force-depends", *MINIMAL)
    for args in (("check",), ("--version",)):
        for how in ((), ("-I", "-S")):
            done = ran("chroot", str(tree), "python3", *how, "-", *args, stdin=brought / "whole")
            if done.code != 2 or done.out or not re.fullmatch(r"nodespec: .*\n", done.err):
                yield f"{args}: {done}"
            else:
                print(f"python3-minimal: {done.err}", end="")


# programs


def otherwise(how: str, done: Ran, source: list[Json]) -> Iterator[str]:
    """What a bundle finds otherwise than nodespec from its source."""
    if done.code not in (0, 10, 11) or done.err:
        yield f"{how}: {done.code} {done.err}"
        return
    for ours, theirs in zip(findings(done), source):
        if ours != theirs:
            yield f"{how}: {json.dumps(ours)[:1000]}\nfrom its source: {json.dumps(theirs)[:1000]}"


def findings(done: Ran) -> list[Json]:
    (found,) = json.loads(done.out)["reports"]
    listed: list[Json] = found["findings"]
    assert len(listed) > len(SPECS), done
    return listed


def nodespec(*args: str) -> Ran:
    """nodespec from its source, on this machine's Python."""
    done = ran(*PROGRAM, *args)
    if done.code not in (0, 10, 11):
        raise RuntimeError(f"nodespec {' '.join(args)}: {done}")
    return done


def mount(*args: str) -> None:
    debian.said("mount", *args)


def ran(*argv: str, stdin: Path | None = None) -> Ran:
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(TOP)}
    with (stdin or Path(os.devnull)).open("rb") as file:
        done = subprocess.run(argv, stdin=file, env=env, cwd="/", capture_output=True, text=True, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        sys.exit(apart(Path(sys.argv[1]), Path(sys.argv[2])))
    if len(sys.argv) != 2:
        sys.exit("usage: pythons.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))
