"""containerd's configuration as nodespec reads it against `containerd config dump`, over releases of containerd.

    python tests/stages/containerd_config.py CACHE [TREES]

As root. Debian's containerd is installed where it is missing; the releases of BUILT are built in CACHE from the Go
module proxy, once. Each dumps so many seeded trees of a configuration with imports. The exit status is 1 where one
answer differs, or where nodespec does not know more than 5 % of what containerd accepts.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Union

import tomllib
from debian import installed, said

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP))

from nodespec.checks._runtime_containerd import find_rules, resolve_settings  # noqa: E402 - likewise
from nodespec.checks._runtime_containerd_more import resolve_setting  # noqa: E402 - likewise
from nodespec.host.directory import DirectoryTree  # noqa: E402
from nodespec.model.observation import Absent, Evidence, Observation, Value  # noqa: E402

SEED, TREES, MAX_UNKNOWN = 2016, 240, 0.05
BUILT = ("1.7.29", "2.2.0", "2.4.2")
BUILD_SECONDS = 700
OLD, SHORT = "io.containerd.grpc.v1.cri", "cri"
RUNTIME, IMAGES = "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"
SETTING_TREES = 24
CERTIFICATES = "/etc/containerd/certs.d:/etc/docker/certs.d"
SPELLED = ("SystemdCgroup", "systemdcgroup", "SYSTEMDCGROUP", "systemdCgroup")


class Program(NamedTuple):
    """A containerd and its version."""

    version: str
    path: str


class Answer(NamedTuple):
    """What a configuration decides; nothing where it is refused or says nothing."""

    driver: Optional[str]
    snapshotter: Optional[str]
    disabled: Optional[bool]


def main(cache: Path, trees: int) -> int:
    programs = list(available(cache))
    wrong = 0
    for program in programs:
        wrong += compare(program, trees) + compare_settings(program)
    return int(wrong > 0 or not programs)


def available(cache: Path) -> Iterator[Program]:
    """Debian's containerd and those that can be built; says which cannot."""
    if not shutil.which("containerd"):
        installed("containerd")
    debian = shutil.which("containerd") or ""
    yield Program(said(debian, "--version").split()[2].lstrip("v"), debian)
    for version in BUILT:
        path = cache / f"containerd-v{version}"
        try:
            build(version, path)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"skipped  containerd {version}: building it failed: {str(error)[-300:]}")
            continue
        yield Program(version, str(path))


def build(version: str, path: Path) -> None:
    """Build a release where it is not in the cache."""
    if path.exists():
        return
    module = path.parent / f"module-{version}"
    shutil.rmtree(module, ignore_errors=True)
    module.mkdir(parents=True)
    name = f"github.com/containerd/containerd{'' if version.startswith('1.') else '/v2'}"
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    environment["GOCACHE"] = str(path.parent / "go-cache")
    for command in (
        ["go", "mod", "init", "build"],
        ["go", "get", f"{name}@v{version}"],
        ["go", "build", "-trimpath", "-tags", "no_btrfs,no_zfs", "-o", str(path), f"{name}/cmd/containerd"],
    ):
        subprocess.run(command, cwd=module, env=environment, check=True, timeout=BUILD_SECONDS, capture_output=True)


def compare(program: Program, trees: int) -> int:
    """Print how many trees were read equally, and the first differences; return the number of differences."""
    chance = random.Random(f"{SEED}")  # noqa: S311 - no secret
    wrong, unknown, refused = [], 0, 0
    with tempfile.TemporaryDirectory(prefix="nodespec-") as folder:
        for number in range(trees):
            path = Path(folder, str(number))
            path.mkdir()
            texts = write(path, chance, program)
            theirs = dump(program, path / "config.toml")
            ours = read(program, path / "config.toml")
            if theirs is None or theirs.driver is None:
                refused += 1
                kept = ours.driver is None
            else:
                known = (ours.disabled,) if theirs.disabled else ours
                unknown += None in known
                pairs = [*zip(ours, theirs)][2 * bool(theirs.disabled) :]  # of a disabled plugin nothing is dumped
                kept = all(own is None or own == other for own, other in pairs)
            if not kept:
                wrong.append(f"{theirs} is read as {ours}:\n{texts}")
    print(f"containerd {program.version}: {trees} trees, {refused} refused, {unknown} unknown, {len(wrong)} differ")
    for text in wrong[:3]:
        print(f"different: {text}")
    if unknown > MAX_UNKNOWN * (trees - refused):
        print(f"different: nodespec reports unknown for {unknown} of {trees - refused} trees that containerd accepts")
        return len(wrong) + 1
    return len(wrong)


def read(program: Program, path: Path) -> Answer:
    """What nodespec says of a file."""
    found = resolve_settings(DirectoryTree("/"), str(path), Value(program.version, Evidence("")), given=True)
    if not isinstance(found, Value):
        return Answer(None, None, None)

    def plain(seen: Observation[Union[str, bool]]) -> Optional[Union[str, bool]]:
        return seen.value if isinstance(seen, Value) else None

    return Answer(*map(plain, found.value))  # type: ignore[arg-type]


def dump(program: Program, path: Path) -> Optional[Answer]:
    """What containerd makes of a file; nothing where it refuses it."""
    done = subprocess.run([program.path, "-c", str(path), "config", "dump"], capture_output=True, check=False, cwd="/")
    if done.returncode:
        return None
    document = tomllib.loads(done.stdout.decode())
    plugins = document["plugins"]
    merged = OLD if program.version.startswith("1.") else RUNTIME
    # what is disabled has at most what the files set, without any default
    defaults = {OLD: "disable_tcp_service", **({RUNTIME: "cni", IMAGES: "snapshotter"} if merged == RUNTIME else {})}
    if any(key not in plugins.get(name, {}) for name, key in defaults.items()):
        return Answer("", "", disabled=True)
    containerd = plugins[merged]["containerd"]
    snapshotter = (containerd if merged == OLD else plugins[IMAGES])["snapshotter"]
    return Answer(driver(containerd, first=merged == OLD), snapshotter, disabled=False)


def driver(containerd: Dict[str, object], *, first: bool) -> Optional[str]:
    """The cgroup driver; nothing where the CRI plugin stops at the default runtime."""
    runtimes = containerd["runtimes"]
    runtime = runtimes.get(containerd["default_runtime_name"])  # type: ignore[attr-defined]
    if first and containerd["default_runtime"]["runtime_type"]:  # type: ignore[index]
        runtime = containerd["default_runtime"]
    if runtime is None:
        return None
    options = runtime.get("options") or {}
    spelled = [name for name in SPELLED if name in options] if first else sorted(set(options) & {*SPELLED})[::-1]
    return "systemd" if spelled and options[spelled[0]] is True else "cgroupfs"


def write(folder: Path, chance: random.Random, program: Program) -> str:
    """Write a configuration with up to three imports; the texts, to be shown."""
    names = [f"{number}0-part.toml" for number in range(chance.choice([0, 0, 1, 1, 2, 3]))]
    (folder / "conf.d").mkdir()
    rules = find_rules(program.version)
    versions = [1, 2, 2, 2, 3] if rules and rules.newest == 2 else [0, 1, 2, 2, 3, 3, 4, 4]
    usual = chance.choice(versions)
    shown = []
    for name in ["config.toml", *(f"conf.d/{name}" for name in names)]:
        version = chance.choice([usual] * 5 + [0, chance.choice(versions)])
        imports = imported(folder, names, chance) if name == "config.toml" and names else []
        if name != "config.toml" and chance.random() < 0.1:
            imports = [str(folder / "config.toml")]
        text = document(chance, version, imports)
        (folder / name).write_text(text)
        shown.append(f"# {name}\n{text}")
    return "".join(shown)


def imported(folder: Path, names: List[str], chance: random.Random) -> List[str]:
    whole = [str(folder / "conf.d" / name) for name in names]
    relative = [f"conf.d/{name}" for name in names]
    return chance.choice(
        [[f"{folder}/conf.d/*.toml"], [f"{folder}/conf.d/*"], whole, whole[::-1], relative, ["conf.d/*.toml"]]
    )


def document(chance: random.Random, version: int, imports: List[str]) -> str:
    lines = [f"imports = {imports}"] if imports else []
    lines += [f"version = {version}"] if version or chance.random() < 0.1 else []
    full = chance.random() < 0.95
    names = {0: [SHORT], 1: [SHORT], 2: [OLD]}.get(version, [RUNTIME, IMAGES])
    if not full:
        names = chance.choice([[SHORT], [OLD], [RUNTIME, IMAGES], [OLD, RUNTIME]])
    if chance.random() < 0.1:
        lines.append(f"disabled_plugins = [{chance.choice(['', repr(names[0]), repr(OLD), repr(SHORT)])}]")
    chance.shuffle(lines)
    for name in names:
        lines += plugin(chance, f'[plugins."{name}"', images=name == IMAGES, runtimes=name != IMAGES)
    return "\n".join(lines) + "\n"


def plugin(chance: random.Random, table: str, *, images: bool, runtimes: bool) -> Iterator[str]:
    """Lines of the tables of one plugin."""
    if happens(chance, 20):
        yield f"{table}.registry]"
        yield 'config_path = "/etc/containerd/certs.d"'
    snapshotter = f"snapshotter = '{chance.choice(['overlayfs', 'native', 'stargz'])}'"
    if images and happens(chance, 50):
        yield f"{table}]"
        yield snapshotter
    if runtimes and happens(chance, 40):
        yield f"{table}.containerd]"
        yield snapshotter if happens(chance, 50) else ""
        yield f"default_runtime_name = '{chance.choice(['runc', 'crun', 'nvidia'])}'" if happens(chance, 30) else ""
    for name in ("runc", "crun", "nvidia") if runtimes else ():
        if happens(chance, 50):
            yield from runtime(chance, f"{table}.containerd.runtimes.{name}")


def runtime(chance: random.Random, table: str) -> Iterator[str]:
    """Lines of one runtime."""
    if happens(chance, 70):
        yield f"{table}]"
        yield "runtime_type = 'io.containerd.runc.v2'"
    if happens(chance, 70):
        yield f"{table}.options]"
        spelled = chance.choice([SPELLED[0], SPELLED[0], SPELLED[0], SPELLED[3]])
        value = chance.choice(["true", "true", "false"])
        yield f"{spelled} = {value}" if happens(chance, 80) else "BinaryName = '/usr/bin/other'"


def happens(chance: random.Random, percent: int) -> bool:
    return chance.randrange(100) < percent


def compare_settings(program: Program) -> int:
    """Return in how many settings of images, networks and devices nodespec and a dump differ."""
    chance, wrong, answers = random.Random(f"{SEED}"), [], 0  # noqa: S311 - no secret
    with tempfile.TemporaryDirectory(prefix="nodespec-") as folder:
        path = Path(folder, "config.toml")
        for _ in range(SETTING_TREES):
            path.write_text("\n".join(settings(chance, program)) + "\n")
            done = subprocess.run(
                [program.path, "--config", str(path), "config", "dump"], capture_output=True, text=True, check=False
            )
            for column, theirs in dumped_settings(program, done.stdout).items() if not done.returncode else ():
                version: Observation[str] = Value(program.version, Evidence(""))
                seen = resolve_setting(DirectoryTree("/"), str(path), version, column, given=True)
                ours = seen.value if isinstance(seen, Value) else "" if isinstance(seen, Absent) else None
                answers += 1
                default = ours is None and column == "sandbox_image"  # The default of a release is not known.
                if not default and ours != theirs:
                    wrong.append(f"{column} is {theirs}, read as {ours}:\n{path.read_text()}")
    print(f"containerd {program.version}: {answers} settings, {len(wrong)} differ")
    print("".join(f"different: {text}" for text in wrong[:3]), end="")
    return len(wrong) or int(not answers)


def dumped_settings(program: Program, text: str) -> Dict[str, object]:
    """Return the settings of a dump in force; of `bin_dir` and `bin_dirs` the first counts."""
    table = tomllib.loads(text)
    plugins = table["plugins"]
    if program.version.startswith("1"):
        runtime = images = plugins[OLD]
        image, cdi = images["sandbox_image"], runtime.get("enable_cdi", False)
    else:
        runtime, images = plugins[RUNTIME], plugins[IMAGES]
        image, cdi = images["pinned_images"]["sandbox"], runtime.get("enable_cdi", True)
    network, certificates = runtime["cni"], images["registry"]["config_path"]
    late = program.version >= "2.3" and not certificates  # Set when the plugin starts, and not in the dump.
    return {
        "default_handler": runtime["containerd"]["default_runtime_name"],
        "sandbox_image": image,
        "registry_config_path": CERTIFICATES if late else certificates,
        "cdi": cdi,
        "cni_conf_dir": network["conf_dir"],
        "cni_bin_dirs": frozenset([network["bin_dir"]] if network.get("bin_dir") else network["bin_dirs"]),
        "root": table["root"],
    }


def settings(chance: random.Random, program: Program) -> Iterator[str]:
    """Yield a configuration of version 2, or with containerd 2.x of version 3 or 4."""
    newest = 2 if program.version.startswith("1") else 4 if program.version >= "2.3" else 3
    version = chance.randint(2, newest)
    runtime, images = (OLD, OLD) if version == 2 else (RUNTIME, IMAGES)
    yield f"version = {version}"
    yield from ['root = "/data/containerd"'] * happens(chance, 30)
    yield f'[plugins."{runtime}"]'
    yield from [f"enable_cdi = {chance.choice(('true', 'false'))}"] * happens(chance, 50)
    if happens(chance, 50):
        yield from ([] if version == 2 else [f'[plugins."{images}".pinned_images]'])
        yield f'{"sandbox_image" if version == 2 else "sandbox"} = "example/pause:1"'
    if happens(chance, 50):
        yield from (f'[plugins."{images}".registry]', 'config_path = "/etc/containerd/certs.d"')
    if happens(chance, 60):
        yield f'[plugins."{runtime}".cni]'
        yield chance.choice(('bin_dir = "/usr/libexec/cni"', 'conf_dir = "/srv/cni"'))
    if happens(chance, 50):
        yield from (f'[plugins."{runtime}".containerd]', 'default_runtime_name = "nvidia"')
        yield from (f'[plugins."{runtime}".containerd.runtimes.nvidia]', 'runtime_type = "io.containerd.runc.v2"')


if __name__ == "__main__":
    if os.geteuid():
        print("root privileges are required to install packages")
        sys.exit(77)
    sys.exit(main(Path(sys.argv[1]).absolute(), int(sys.argv[2]) if sys.argv[2:] else TREES))
