"""Trees as Debian makes them, of nodes that do not run: does nodespec say what is in them?

    python tests/stages/trees.py CACHE

As root, with debootstrap. The trees of four suites, and one of arm64 whose second stage runs under qemu-user-static,
are made in the folder CACHE and observed with `--image`. What nodespec says of them is compared with what the tools
of each tree say, run in it, and with its files as others read them; what it says of the folder, with what it says of a
tar of it. The trees must stay as they were. The exit status is 1 where anything is different.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import asking
import debian

from nodespec.facts import declaration
from nodespec.judge.clause_result import format_value
from nodespec.model.observation import DEFERRED, Absent, Unknown, Value
from nodespec.recording.file import load_recording
from nodespec.recording.replay import ReplayedFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodespec.facts.declaration import Place

TOP = Path(__file__).parents[2]
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
FEWEST = 100  # packages
GPT_AUTO = "/usr/lib/systemd/system-generators/systemd-gpt-auto-generator"
SOME = 10  # of so many modules one is asked for
OS = {
    "id": "ID",
    "name": "NAME",
    "pretty_name": "PRETTY_NAME",
    "version": "VERSION_ID",
    "codename": "VERSION_CODENAME",
}
PROGRAMS = ("mount", "losetup", "cp", "modprobe", "containerd", "runc", "iptables", "kubelet", "crictl")
UNITS = {"runtime.containerd.enabled": "containerd.service", "kubelet.enabled": "kubelet.service"}


class Node(NamedTuple):
    suite: str
    architecture: str = "amd64"

    def __str__(self) -> str:
        return f"{self.suite} {self.architecture}"


# the slowest first; of one that may not be made, through no fault of nodespec's, nothing more is asked
NODES = (Node("bookworm", "arm64"), Node("bookworm"), Node("trixie"), Node("bullseye"), Node("sid"))


def main(cache: Path) -> int:
    """The exit status; what was compared is printed, and last what is wrong."""
    wrong: list[str] = []
    with ThreadPoolExecutor(2) as makers:
        making = {node: makers.submit(debian.node, node.suite, cache, node.architecture) for node in NODES}
        for node in (*NODES[1:], NODES[0]):
            wrong += judged(node, making[node], cache)
    for mistake in wrong:
        print(f"wrong    {mistake}")
    return int(bool(wrong))


def judged(node: Node, making: Future[Path], cache: Path) -> list[str]:
    """What nodespec says otherwise of a tree than others do."""
    if node.architecture != "amd64" and not debian.INTERPRETERS.is_dir():
        print(f"skipped  {node}: this kernel has no BINFMT_MISC to start programs of another architecture")
        return []
    try:
        tree = making.result()
    except RuntimeError as error:
        if node.suite != "sid":
            return [f"{node}: the tree cannot be made: {error}"]
        print(f"skipped  {node} changes every day, and building it failed today: {str(error)[-300:]}")
        return []
    before = state(tree)
    with debian.emulated(node.architecture):
        said = {**dict(readings(tree)), "kernel.arch": MACHINES[node.architecture]}
    file = cache / f"trees-{node.suite}-{node.architecture}.json"
    named = [name for name in said if name.startswith(("commands.", "sysctl.", "modules."))]  # of tables without an end
    record = (sys.executable, "-m", "nodespec", "facts", "--all", "--reveal", "--deadline", "120", "-o", str(file))
    for _ in range(asking.TRIES):
        asked = debian.said(*record, "--image", str(tree), "kubernetes/1.35", *named, cwd=TOP)
        if '"timed out"' not in file.read_text():
            break
    seen = ReplayedFacts(load_recording(str(file)).facts)
    wrong = [f"{node}: {one}" for one in (*differing(said, seen), *unlisted(said, seen), *flowing(tree, cache, node))]
    total = seen.observe(declaration.resolve_place(("swap", "total")))
    if Path(f"{tree}{GPT_AUTO}").exists() and not (isinstance(total, Unknown) and total.reason == DEFERRED):
        wrong.append(f"{node}: swap.total: a boot may switch on a swap partition, and nodespec says {total}")
    if state(tree) != before:
        wrong.append(f"{node}: the tree is not as it was")
    kinds = Counter(place.partition(".")[0] for place in said)
    print(
        f"{node}: {asked.strip()}; read by other programs: {', '.join(f'{n} of {kind}' for kind, n in kinds.items())}"
    )
    return wrong


def state(tree: Path) -> str:
    """All files of a tree, with their sizes and times."""
    return debian.said("sh", "-c", f"find {tree} -printf '%p %m %s %T@ %C@\\n' | sha256sum")


# as others read it


def readings(tree: Path) -> Iterator[tuple[str, str | None]]:
    """Yield places and their values; None means absent."""
    yield from system(tree)
    yield from installed(tree)
    yield from programs(tree)
    [release] = within(tree, "ls /lib/modules").split()
    yield from kernel(tree, release)
    yield from modules(tree, release)
    yield from (("sysctl." + key, value) for key, value in parameters(tree))
    for place, unit in UNITS.items():
        said = within(tree, f"systemctl is-enabled {unit} 2>/dev/null || true").strip()
        yield place, {"enabled": "true", "": None, "not-found": None}.get(said, "false")
    yield "os.init", within(tree, "basename $(readlink -f /sbin/init)").strip()
    if not Path(f"{tree}{GPT_AUTO}").exists():
        yield "swap.total", "0"


def within(tree: Path, script: str) -> str:
    """What a script prints whose root the tree is."""
    return debian.said("chroot", str(tree), "/bin/sh", "-c", script)


def system(tree: Path) -> Iterator[tuple[str, str | None]]:
    """What is to be a shell script is read by a shell."""
    script = ". /etc/os-release; " + "; ".join(f'printf "%s\\n" "${{{name}-}}"' for name in OS.values())
    for fact, value in zip(OS, within(tree, script).split("\n")):
        yield f"os.{fact}", value or None


def installed(tree: Path) -> Iterator[tuple[str, str | None]]:
    form = "${Package} ${Version} ${db:Status-Status} ${Architecture}\\n"
    for line in within(tree, f"dpkg-query --show --showformat={shlex.quote(form)}").splitlines():
        name, version, status, architecture = line.split()
        yield f"packages.{name}.deb", version
        yield f"packages.{name}.status", status
        yield f"packages.{name}.architecture", architecture


def kernel(tree: Path, release: str) -> Iterator[tuple[str, str | None]]:
    """Yield the installed kernel. Its configuration is a shell script, too; comments name options that are off."""
    yield "kernel.release", release
    packaged = within(tree, f"dpkg-query --show --showformat='${{Version}}' linux-image-{release}")
    yield "kernel.version", packaged.partition("-")[0]
    file = f"/boot/config-{release}"
    for name in re.findall(r"# CONFIG_(\w+) is not set", within(tree, f"cat {file}")):
        yield f"kernel.config.{name}", "n"
    for line in within(tree, f". {file}; set").splitlines():
        name, equals, value = line.partition("=")
        if name.startswith("CONFIG_") and equals:
            [text] = shlex.split(value) or [""]
            yield f"kernel.config.{name[7:]}", text or "empty"


def modules(tree: Path, release: str) -> Iterator[tuple[str, str | None]]:
    """Some of those that are there, and one that is not, as modprobe would load them."""
    folder = f"/lib/modules/{release}"
    files = within(tree, f"find {folder} -name '*.ko*'; cat {folder}/modules.builtin").split()
    names = sorted({Path(file).name.partition(".")[0].replace("-", "_") for file in files})
    aliased = within(tree, f"cat {folder}/modules.alias").splitlines()  # where modprobe looks first
    aliases = {line.split()[1] for line in aliased if line.startswith("alias ")}
    with_tree = f"--dirname={tree} --set-version={release} --config={tree}/etc/modprobe.d"
    some = [name for name in names[::SOME] if name not in aliases]
    for name in (*some, "br_netfilter", "overlay", "nf_conntrack", "no_such_module"):
        said = debian.said("sh", "-c", f"modprobe --show-depends {with_tree} {name} 2>/dev/null || true").splitlines()
        yield f"modules.{name}", {"insmod": "loadable", "builtin": "builtin"}[said[-1].split()[0]] if said else None


def programs(tree: Path) -> Iterator[tuple[str, str | None]]:
    for name in PROGRAMS:
        found = within(
            tree, f"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin; command -v {name} || true"
        ).strip()
        yield f"commands.{name}", found or None


def parameters(tree: Path) -> Iterator[tuple[str, str]]:
    """What systemd itself says that it sets, the last word last. Of patterns the machine decides what they match."""
    said: dict[str, str] = {}
    for line in within(tree, "/lib/systemd/systemd-sysctl --cat-config 2>/dev/null || true").splitlines():
        found = re.fullmatch(r"-?([^#;=*?\[\s]+)\s*=\s*(.*?)\s*", line)
        if found:
            said[found[1].replace("/", ".")] = " ".join(found[2].split())
    yield from said.items()


# and as nodespec says it


def differing(said: dict[str, str | None], seen: ReplayedFacts) -> Iterator[str]:
    for name, wanted in said.items():
        found = told(place(name), seen)
        if found == "loaded" and name.startswith("modules."):  # at boot, as the stage `boots` sees
            found = "loadable"
        if found != (wanted if wanted is not None else "absent"):
            yield f"{name}: {wanted or 'nothing'} is there, and nodespec says {found}"


def place(name: str) -> Place:
    """The place that an id is of: a package's name has dots as well."""
    family, _, rest = name.partition(".")
    if family in ("sysctl", "commands", "modules"):
        return declaration.resolve_place((family, rest))
    row, _, column = rest.rpartition(".")
    return declaration.resolve_place((family, row, column) if row else (family, rest))


def told(at: Place, seen: ReplayedFacts) -> str:
    """A value in words, `absent`, or why it is unknown."""
    found = seen.observe(at)
    if isinstance(found, Value):
        return format_value(found.value, at.kind).strip('"')
    return "absent" if isinstance(found, Absent) else f"{found.reason}: {found.say}"


def unlisted(said: dict[str, str | None], seen: ReplayedFacts) -> Iterator[str]:
    """Yield packages that are missing or not installed, or that there are too few."""
    theirs = {name.split(".", 1)[1].rpartition(".")[0] for name in said if name.startswith("packages.")}
    ours = set(seen.names(declaration.resolve_place(("packages",))))
    if not theirs <= ours or len(theirs) < FEWEST:
        yield f"{len(theirs)} packages; nodespec does not know {sorted(theirs - ours)}"


def flowing(tree: Path, cache: Path, node: Node) -> Iterator[str]:
    """What is found otherwise in a tar that comes through a pipe than in the folder."""

    def tar() -> subprocess.Popen[bytes]:
        return subprocess.Popen(["/bin/tar", "-C", str(tree), "-cf", "-", "."], stdout=subprocess.PIPE)

    file = cache / f"trees-{node.suite}-{node.architecture}-found.json"
    check = ["kubernetes/1.35", "--set", "stage=image", "--image"]
    folder = asking.judged([*check, str(tree)], file)
    pipe = asking.judged([*check, "-"], file, standard=tar)
    for one, other in zip(folder.findings, pipe.findings):
        if one != other:
            yield f"{one.id}: in the folder {one.outcome}, {one.sentence}; in a tar {other.outcome}, {other.sentence}"
    if folder.conclusion != "nonconformant" or len(folder.findings) != len(pipe.findings):
        yield f"a tree without a kubelet is {folder.conclusion} by {len(folder.findings)} and {len(pipe.findings)}"
    unknown = [finding.id for finding in folder.findings if finding.outcome == "unknown"]
    yield from (f"{name} is unknown" for name in unknown)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: trees.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))
