"""The instructions of a check by the yardstick, on a host that is the same everywhere.

    python tests/stages/instructions.py CACHE

As root, with valgrind. nodespec is installed with pip into a virtual environment of Debian's Python, and gets the plan
of `benchmarks/yardstick.json`. It checks a small root directory with this machine's /proc and /sys: no runtime, no
kubelet, one kernel configuration. cachegrind repeats its counts within 0.2 %. A count that differs from EXPECTED by
more than 3 % fails in either direction: a change that saves instructions must change the expected count.
The exit status is 77 where no count is known for this Python, or where something is missing.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP / "benchmarks"))

import yardstick  # type: ignore[import-not-found,unused-ignore] # noqa: E402 - in the folder above

PYTHON = "/usr/bin/python3"
# Instructions of the check by the version and the machine of Python; the bare Python of 3.11.2 has 29.6 million.
EXPECTED = {"3.11.2 x86_64": 171_000_000}
TOLERANCE = 0.03
SKIP = 77
KERNEL_CONFIG = TOP / "tests/hosts/kernel-6.1.0-56-amd64/truth.config"
OS_RELEASE = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
PROGRAMS = ("valgrind", "valgrind.bin", "sh", "python3")
LIBRARIES = ("*-linux-gnu", "python3*", "debug")  # of /usr/lib; without units, modules and settings of this machine
BOUND = ("usr/lib64", "usr/libexec/valgrind", "proc", "sys", "dev")
LINKS = {"lib": "usr/lib", "lib64": "usr/lib64", "bin": "usr/bin"}


def main(cache: Path) -> int:
    """Run this script again in a mount namespace of its own; the exit status."""
    missing = [name for name in ("valgrind", "unshare", PYTHON) if not shutil.which(name)]
    if missing or os.geteuid():
        print(f"{', '.join(missing)} not found" if missing else "root privileges are required")
        return SKIP
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nodespec-", dir=cache) as folder:
        own = ("unshare", "--mount", "--propagation", "private", sys.executable, __file__, str(cache), folder)
        return subprocess.run(own, check=False).returncode


def inside(folder: Path) -> int:
    """Install, count, compare; the exit status."""
    root = folder / "root"
    python = installed(root / "venv")
    lay(root)
    (root / "tmp").mkdir()
    os.chroot(root)
    os.chdir("/")
    bare, check = yardstick.counted(python)
    version = f"{version_of(python)} {platform.machine()}"
    print(f"Python {version}: bare {bare:,}, check {check:,} instructions")
    if version not in EXPECTED:
        print(f"no expected count for Python {version}")
        return SKIP
    change = check / EXPECTED[version] - 1
    print(f"{change:+.1%} of the expected {EXPECTED[version]:,}")
    if abs(change) <= TOLERANCE:
        return 0
    print("update EXPECTED if the change is intended" if change < 0 else "the check costs more")
    return 1


def version_of(python: str) -> str:
    """Return the version of a Python."""
    said = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[1]


def installed(venv: Path) -> str:
    """Install nodespec with the yardstick; return the path of its Python within the root."""
    subprocess.run([PYTHON, "-m", "venv", venv], check=True)
    source = venv.parent.parent / "source"
    left = shutil.ignore_patterns(".*", "tests", "out", "build", "*.egg-info", "__pycache__")
    shutil.copytree(TOP, source, symlinks=True, ignore=left)
    pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, str(source)], check=True)
    yardstick.install(str(venv / "bin/python"))
    program = venv / "bin/nodespec"
    program.write_text(program.read_text().replace(str(venv.parent), ""))
    return "/venv/bin/python"


def lay(root: Path) -> None:
    """Lay out the host: what a minimal Debian has, and this machine's /proc and /sys."""
    libraries = [f"usr/lib/{path.name}" for pattern in LIBRARIES for path in Path("/usr/lib").glob(pattern)]
    for name in (*libraries, *BOUND, *(f"usr/bin/{program}" for program in PROGRAMS)):
        at, there = root / name, Path("/", name)
        if there.is_dir():
            at.mkdir(parents=True, exist_ok=True)
        else:
            at.parent.mkdir(parents=True, exist_ok=True)
            at.touch()
        subprocess.run(["/usr/bin/mount", "--rbind", there, at], check=True)
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    release = os.uname().release
    files = {
        "etc/os-release": OS_RELEASE,
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "etc/hostname": "node-1\n",
        f"boot/vmlinuz-{release}": "",
        f"boot/config-{release}": KERNEL_CONFIG.read_text(),
        "var/lib/dpkg/status": "",
        f"usr/lib/modules/{release}/modules.dep": "",
        f"usr/lib/modules/{release}/modules.builtin": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])) if len(sys.argv) == 2 else inside(Path(sys.argv[2])))
