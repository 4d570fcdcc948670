"""What `.ci/run` chooses on the machine that it runs on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).parents[1] / ".ci"
PLACES = ("usr/local/go/bin", "usr/lib/go-1.19/bin", "usr/lib/go-1.9/bin", "usr/bin")


def install_go(folder: Path, said: str) -> Path:
    """Write a `go` that prints its version, where nothing in its environment selects another one."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "go"
    program.write_text(f'#!/bin/sh\n[ "$GOTOOLCHAIN$1" = localversion ] && [ "$PWD" = / ] || exit 9\n{said}\n')
    program.chmod(0o755)
    return program


def newest(root: Path, *path: Path) -> str:
    """The Go that is chosen, below `root`; "" if none is."""
    system = root / "system"  # Debian's tools without a Go of this machine
    system.mkdir(exist_ok=True)
    for tool in ("env", "bash", "sort", "head", "cut", "timeout", "sh", "sleep"):
        if not (system / tool).is_symlink():
            (system / tool).symlink_to(f"/usr/bin/{tool}")
    env = {"PATH": os.pathsep.join(map(str, [*path, system]))}
    command = ["/usr/bin/env", "bash", str(CI / "newest-go"), str(root)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if done.stdout else 1), done.stderr
    return done.stdout.rstrip("\n")


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("go1.9", "go1.10"),
        ("go1.9", "go1.19.8"),
        ("go1.19.8", "go1.26.8"),
        ("go1.26.8", "go1.26.10"),
        ("go1.26", "go1.26.1"),
        ("go1.26rc2", "go1.26"),
        ("go1.26rc9", "go1.26rc10"),
        ("go1.26beta2", "go1.26rc1"),
        ("go1.26.8", "go1.27rc1"),
        ("go1.99.9", "go2.0"),
        ("go1.26.8", "devel go1.27-a1b2c3d Tue Nov 3 10:00:00 2026 +0000"),
        ("devel go1.27-a1b2c3d Tue Nov 3 10:00:00 2026 +0000", "go1.27rc1"),
        ("devel +a1b2c3d Tue Nov 3 10:00:00 2026 +0000", "go1.9"),
        ("go1.19.8 X:boringcrypto", "go1.22.9 (Red Hat 1.22.9-1.el9)"),
    ],
)
def test_the_newest_go_is_chosen_wherever_it_is(tmp_path: Path, older: str, newer: str) -> None:
    folders = [tmp_path / "on-path", *(tmp_path / place for place in PLACES)]
    for number, folder in enumerate(folders):
        for other in folders:
            install_go(other, f"echo go version {older} linux/amd64")
        wanted = install_go(folder, f"echo 'go version {newer} linux/amd64'")
        assert newest(tmp_path, tmp_path / "on-path") == str(wanted), number


def test_every_go_on_the_path_is_tried(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second one", "third"))
    for folder, version in ((first, "1.19.8"), (second, "1.26.8"), (third, "1.26.8")):
        install_go(folder, f"echo go version go{version} linux/amd64")
    assert newest(tmp_path, first, second, third) == str(second / "go")


def test_a_go_that_does_not_work_is_left_out(tmp_path: Path) -> None:
    works = install_go(tmp_path / "usr/bin", "echo go version go1.19.8 linux/amd64")
    for number, said in enumerate(
        ("exit 1", "echo go version go9.9; exit 1", "echo hello", ":", "echo go version 9.9")
    ):
        install_go(tmp_path / f"bad-{number}", said)
    (tmp_path / "bad-0/go").chmod(0o644)
    assert newest(tmp_path, *tmp_path.glob("bad-*")) == str(works)
    works.unlink()
    assert newest(tmp_path, *tmp_path.glob("bad-*")) == ""


def test_the_stages_find_the_newest_go_and_debians_python(tmp_path: Path) -> None:
    program = install_go(tmp_path / "tools", "echo go version go99.1 linux/amd64")
    (tmp_path / "tools/python3").symlink_to("/bin/false")
    env = {**os.environ, "PATH": f"{tmp_path / 'tools'}:/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    done = subprocess.run([str(CI / "run"), "nosuch"], env=env, capture_output=True, text=True, check=False)
    assert "nosuch: FAILED" in done.stdout
    (linked,) = tmp_path.glob("nodespec-ci.*/bin")
    assert {path.name: os.readlink(path) for path in linked.iterdir()} == {"go": str(program)}
