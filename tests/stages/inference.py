"""What is inferred of a kernel's configuration, held against the configuration itself. As root, on Debian:

    python tests/stages/inference.py CACHE [--record]

Three of Debian's kernels are fetched, booted alone in QEMU, and asked for what the running kernel shows; then the
kernel of this machine, if it can say how it was built. Exits 1 if an option is inferred wrongly, or fewer than BAR are
decided. With --record what was shown goes to tests/hosts, trimmed to what is read of it, for the unit tests.
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))

import debian as packages  # noqa: E402 - after the path of this checkout, installed or not
from debian import said  # noqa: E402 - likewise

from nodespec.checks import _kernel_config_evidence, _kernel_config_inferred  # noqa: E402
from nodespec.host.machine import Machine  # noqa: E402

BAR = 95
SECONDS = 120  # for one boot; it takes some five
# the newest kernel of the distribution, in two flavours, and another series where there is one
PACKAGES = (
    ("linux-image-cloud-amd64",),
    ("linux-image-amd64",),
    ("linux-image-6.12-cloud-amd64", "linux-image-rt-amd64"),
)

# what moby's, k3s' and lxc's check-config and the kubelet's system validators ask for, and Linux 7.3 still has
LIVING = (REPOSITORY / "tests/checks/kernel_options.txt").read_text().split()

# what is read of a running kernel, copied to $1: whole files, files that only are there, and what matters of others
DUMP = r"""
to=$1
put() { path=$(echo $1 | sed s,/proc/self,/proc/1,); mkdir -p "$to/${path%/*}"; cat > "$to/$path"; }
for file in @FILES@; do [ -r $file ] && put $file < $file; done
for path in @PATHS@; do
  if [ -d $path ]; then echo | put $path/there; elif [ -e $path ] || [ -h $path ]; then echo | put $path; fi
done
mkdir $to/proc/self; echo > $to/proc/self/stat
grep Seccomp: /proc/self/status | put /proc/self/status
grep -E '\[(stack|v.*)\]' /proc/self/maps | put /proc/self/maps
for word in $(cat /proc/cmdline); do case $word in psi=*|vsyscall=*) echo $word;; esac; done | put /proc/cmdline
if [ -e /proc/modules ]; then cut -d' ' -f1 /proc/modules | sed 's/$/ 1 0 - Live 0x0/' | put /proc/modules; fi
for module in /sys/module/*; do
  echo | put $module/uevent
  if [ -e $module/initstate ]; then echo live | put $module/initstate; fi
done
grep -E ' (@SYMBOLS@)([.]|	|$)' /proc/kallsyms | sed 's/^[0-9a-f]* /0000000000000000 /' | put /proc/kallsyms
"""
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
sh /dump /shown
stty -F /dev/ttyS1 raw
tar -C /shown -cf - . | gzip > /dev/ttyS1
poweroff -f
"""


class Kernel(NamedTuple):
    """A kernel as booted: the root that shows it, and how it was built."""

    name: str
    root: Path
    built: dict[str, str]


class Measured(NamedTuple):
    decided: list[str]
    wrong: list[str]
    undecided: list[str]


def measure(kernel: Kernel) -> Measured:
    """Decided is what can only be enabled or only be disabled; wrong is what excludes the truth."""
    machine, measured = Machine(str(kernel.root)), Measured([], [], [])
    for name in LIVING:
        found = _kernel_config_inferred.infer_option(machine, name)
        may_be = {str(found.value), *found.others} if found else {"y", "n"}
        truth = kernel.built.get(name, "undefined")
        if found and truth not in may_be:
            measured.wrong.append(f"{name} ({found.value} by {found.evidence}, and is {truth})")
        elif len({value in ("y", "m") for value in may_be}) == 1:
            measured.decided.append(name)
        else:
            measured.undecided.append(name)
    return measured


def configuration(text: bytes) -> dict[str, str]:
    """A .config, read in another way than nodespec's."""
    rows: dict[str, str] = {}
    for line in text.decode().splitlines():
        if line.startswith("CONFIG_"):
            name, value = line[len("CONFIG_") :].split("=", 1)
            rows[name] = value
        elif line.endswith(" is not set"):
            rows[line.split()[1][len("CONFIG_") :]] = "n"
    return rows


def tools() -> None:
    if not shutil.which("qemu-system-x86_64") or not Path("/bin/busybox").exists() or not shutil.which("cpio"):
        packages.installed("qemu-system-x86", "busybox-static", "cpio")


def fetched(cache: Path, alternatives: tuple[str, ...]) -> Path:
    """A kernel's package, by the name of the one that draws in the newest."""
    for meta in alternatives:
        needed = re.search(r"Depends: (linux-image-\S+)", said("sh", "-c", f"apt-cache depends {meta} || true"))
        if needed:
            if not list(cache.glob(f"{needed[1]}_*.deb")):
                packages.fetched("apt-get", "-oAPT::Sandbox::User=root", "download", "--quiet", needed[1], cwd=cache)
            return next(cache.glob(f"{needed[1]}_*.deb"))
    raise SystemExit(f"no package {' or '.join(alternatives)} is known to apt")


def unpacked(package: Path) -> Path:
    """The package's kernel, configuration and lists of modules, beside it."""
    folder = package.with_suffix("")
    if folder.exists():
        return folder
    wanted = ("./boot/config-*", "./boot/vmlinuz-*", "*/lib/modules/*/modules.builtin", "*/lib/modules/*/modules.order")
    whole = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir()
    members = " ".join(f"'{name}'" for name in wanted)
    said("sh", "-c", f"dpkg-deb --fsys-tarfile '{package}' | tar -x --wildcards {members}", cwd=whole)
    whole.rename(folder)
    return folder


def dump() -> str:
    """The script that copies what is read."""
    signs = [path.replace("~", "/proc/self") for sign in _kernel_config_evidence.SIGNS.values() for path in sign.paths]
    symbols = {sign.symbol for sign in _kernel_config_evidence.SIGNS.values() if sign.symbol}
    symbols |= {
        symbol for _, symbol in (*_kernel_config_evidence.MODULES.values(), *_kernel_config_evidence.WITHIN.values())
    }
    symbols |= {name.decode() for name in _kernel_config_inferred.EVERY_KERNEL}
    files = {path.partition(":")[0] for path in signs if ":" in path} - {"/proc/self/status"}
    paths = {path for path in signs if ":" not in path} - {"/proc/modules", "/proc/config.gz"}
    script = DUMP.replace("@FILES@", " ".join(sorted({*files, "/proc/sys/kernel/osrelease"})))
    return script.replace("@PATHS@", " ".join(sorted(paths))).replace("@SYMBOLS@", "|".join(sorted(symbols)))


def booted(folder: Path) -> Path:
    """What the kernel shows of itself: booted with nothing but busybox, it writes that to its second serial line."""
    root, rig = folder / "shown", folder / "rig"
    if root.exists():
        return root
    for name in ("bin", "proc", "sys", "dev"):
        (rig / name).mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", rig / "bin/busybox")
    (rig / "dump").write_text(dump())
    (rig / "init").write_text(INIT)
    (rig / "init").chmod(0o755)
    said("sh", "-c", "find . | cpio -o -H newc --quiet > ../initrd", cwd=rig)
    written = folder / "written"
    machine = ["qemu-system-x86_64", "-accel", "tcg", "-m", "512", "-display", "none", "-no-reboot"]
    machine += ["-kernel", str(next(folder.glob("boot/vmlinuz-*"))), "-initrd", str(folder / "initrd")]
    machine += ["-append", "console=ttyS0 quiet panic=-1", "-serial", f"file:{folder}/console"]
    subprocess.run([*machine, "-serial", f"file:{written}"], check=True, timeout=SECONDS)
    with tarfile.open(written) as files:
        files.extractall(root)  # noqa: S202 - from the guest made here
    for lists in folder.glob("**/lib/modules"):
        if root not in lists.parents:
            shutil.copytree(lists, root / "lib/modules", dirs_exist_ok=True)
    return root


def debian(cache: Path) -> list[Kernel]:
    kernels = []
    for alternatives in PACKAGES:
        folder = unpacked(fetched(cache, alternatives))
        config = next(folder.glob("boot/config-*"))
        kernels.append(Kernel(config.name.partition("-")[2], booted(folder), configuration(config.read_bytes())))
    return kernels


def own() -> list[Kernel]:
    """The kernel of this machine, if it tells."""
    release = Path("/proc/sys/kernel/osrelease").read_text().strip()
    for path in (Path("/proc/config.gz"), Path(f"/boot/config-{release}")):
        if path.exists():
            data = path.read_bytes()
            return [Kernel("this machine's", Path("/"), configuration(gzip.decompress(data) if path.suffix else data))]
    sys.stdout.write("this machine's kernel does not say how it was built, and is left out\n")
    return []


def record(kernel: Kernel, cache: Path) -> None:
    """Keep what is read of a kernel as a host for the unit tests, with the options that are asked for."""
    version = kernel.name
    if kernel.root == Path("/"):
        version = re.match(r"[\d.]+", Path("/proc/sys/kernel/osrelease").read_text())[0]  # type: ignore[index]
        shown = cache / "own"
        shutil.rmtree(shown, ignore_errors=True)
        said("sh", "-c", dump(), "dump", str(shown))
        (shown / "proc/sys/kernel/osrelease").write_text(f"{version}\n")
    else:
        shown = kernel.root
    host = REPOSITORY / "tests/hosts" / f"kernel-{version}"
    shutil.rmtree(host, ignore_errors=True)
    shutil.copytree(shown, host, symlinks=True)
    names = {module for module, _ in _kernel_config_evidence.MODULES.values()}
    for file in host.glob("lib/modules/*/modules.*"):
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if Path(line).name.split(".")[0].replace("-", "_") in names))
    for module in host.glob("sys/module/*"):
        if module.name not in names:
            shutil.rmtree(module)
    rows = (f"CONFIG_{name}={kernel.built[name]}\n" for name in sorted(LIVING) if name in kernel.built)
    (host / "truth.config").write_text("".join(rows))


def main(cache: Path, *, keep: bool) -> int:
    cache.mkdir(parents=True, exist_ok=True)
    tools()
    failed = False
    for kernel in (*debian(cache), *own()):
        measured = measure(kernel)
        counts = ", ".join(f"{len(names)} {word}" for word, names in measured._asdict().items())
        sys.stdout.write(f"{kernel.name}: {counts}; undecided: {' '.join(measured.undecided) or 'none'}\n")
        for wrong in measured.wrong:
            sys.stdout.write(f"  wrong: {wrong}\n")
        failed |= bool(measured.wrong) or len(measured.decided) < BAR
        if keep:
            record(kernel, cache)
    return int(failed)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--record"]):
        raise SystemExit(__doc__)
    raise SystemExit(main(Path(sys.argv[1]).resolve(), keep=len(sys.argv) == 3))
