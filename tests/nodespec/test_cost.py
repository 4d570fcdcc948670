"""What the main job costs, in counts: files opened, bytes read, programs run, modules imported. Never milliseconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest

TOP = Path(__file__).parents[2]
SPY = """
import collections, json, sys
opened, programs, sockets = collections.Counter(), [], []

def hook(event, args):
    if event == "open" and isinstance(args[0], str):
        opened[args[0]] += 1
    elif event == "subprocess.Popen":
        programs.append(" ".join(args[1]))
    elif event == "socket.connect":
        sockets.append(str(args[1]))

def read():
    with open("/proc/self/io") as io:
        return int(io.readline().split()[1])

sys.addaudithook(hook)
there = set(sys.modules)
from nodespec.__main__ import main
before = read()
code = main(sys.argv[1:])
after = read()
roots = ("/proc/", "/sys/", "/etc/", "/var/", "/boot/")
host = {path: times for path, times in opened.items() if path.startswith(roots) and path != "/proc/self/io"}
found = {"code": code, "opened": host, "bytes": after - before, "programs": programs, "sockets": sockets,
         "modules": sorted(set(sys.modules) - there)}
print(json.dumps(found), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def cost() -> Dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", SPY, "check", "kubernetes/1.35", "-o", "text=/dev/null"],
        env={**os.environ, "PYTHONPATH": str(TOP)},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    found: Dict[str, object] = json.loads(done.stderr.splitlines()[-1])
    assert found["code"] in (0, 10, 11)
    return found


def test_the_host_s_files_are_few_and_each_is_read_about_once(cost: Dict[str, Dict[str, int]]) -> None:
    opened = cost["opened"]
    assert 10 < len(opened) < 80, opened
    often = {path: times for path, times in opened.items() if times > 2}
    assert set(often) <= {"/proc/sys/kernel/osrelease"}, often


def test_what_is_read_is_bounded(cost: Dict[str, int]) -> None:
    """With nodespec's own modules some 1.5 MB, and a kernel's symbols where no file says how it was built."""
    assert cost["bytes"] < 16 << 20


def test_programs_are_run_once_and_only_where_nothing_else_says(cost: Dict[str, List[str]]) -> None:
    programs = cost["programs"]
    assert len(programs) == len(set(programs)) <= 6, programs
    assert all(program.endswith("--version") for program in programs), programs


def test_a_peer_is_asked_few_times(cost: Dict[str, List[str]]) -> None:
    assert len(cost["sockets"]) <= 8, cost["sockets"]


def test_what_the_main_job_imports(cost: Dict[str, List[str]]) -> None:
    modules = set(cost["modules"])
    assert "yaml" in modules
    assert not modules & {"jsonschema", "jinja2", "packaging", "distro", "dataclasses", "inspect", "pathlib", "logging"}
    own = {name for name in modules if name.startswith("nodespec")}
    assert len(own) < 82, sorted(own)
    assert not own & {"nodespec.stored", "nodespec.reports.html", "nodespec.bundle"}
    assert not own & {f"nodespec.{name}" for name in ("fleet", "recording", "recorded", "recorder", "manual", "image")}
    assert not modules & {"shutil", "lzma", "bz2", "multiprocessing", "concurrent"}
