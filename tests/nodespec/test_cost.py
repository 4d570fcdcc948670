"""What the main job costs, in counts: files opened, bytes read, programs run, modules imported. Never milliseconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, List, Set

import pytest

from nodespec.author.spec import precompiled

TOP = Path(__file__).parents[2]
SPY = """
import collections, os, sys
opened, programs, sockets, compiled = collections.Counter(), [], [], []

def hook(event, args):
    if event == "open" and isinstance(args[0], str):
        opened[args[0]] += 1
    elif event == "subprocess.Popen":
        programs.append(" ".join(args[1]))
    elif event == "socket.connect":
        sockets.append(str(args[1]))
    elif event == "compile" and args[1] == "<string>":
        compiled.append(bytes(args[0]).decode())

def read():
    with open("/proc/self/io") as io:
        return int(io.readline().split()[1])

sys.addaudithook(hook)
there = set(sys.modules)
if os.environ.get("PLANS"):
    from nodespec.author.spec import precompiled
    precompiled.PLANS_DIR = os.environ["PLANS"]
from nodespec.__main__ import main
before = read()
code = main(sys.argv[1:])
after = read()
roots = ("/proc/", "/sys/", "/etc/", "/var/", "/boot/")
host = {path: times for path, times in opened.items() if path.startswith(roots) and path != "/proc/self/io"}
found = {"code": code, "opened": host, "bytes": after - before, "programs": programs, "sockets": sockets,
         "modules": sorted(set(sys.modules) - there), "compiled": compiled,
         "lines": sum(source.count("\\n") for name, module in sys.modules.items()
                      if name.partition(".")[0] == "nodespec" for source in [open(module.__file__).read()])}
import json
print(json.dumps(found), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def cost() -> Dict[str, object]:
    return counted()


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, object]:
    """As it is installed, with plans made ahead."""
    folder = tmp_path_factory.mktemp("plans")
    precompiled.write_plans(str(folder))
    return counted(PLANS=str(folder))


def counted(**more: str) -> Dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", SPY, "check", "kubernetes/1.35", "-o", "text=/dev/null"],
        env={**os.environ, "PYTHONPATH": str(TOP), **more},
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


def own_modules(names: Set[str]) -> Set[str]:
    """Modules of nodespec with code: the packages are empty but for a docstring."""
    own = {name for name in names if name.startswith("nodespec")}
    return {name for name in own if not (TOP / name.replace(".", "/") / "__init__.py").exists()}


def test_what_the_main_job_imports(cost: Dict[str, List[str]]) -> None:
    modules = set(cost["modules"])
    assert "yaml" in modules
    assert not modules & {"jsonschema", "jinja2", "packaging", "distro", "dataclasses", "inspect", "pathlib", "logging"}
    own = own_modules(modules)
    assert len(own) < 86, sorted(own)
    assert not own & {"nodespec.author.commands.stored", "nodespec.reports.html", "nodespec.author.bundle.build"}
    apart = ("run.fleet", "recording.file", "recording.replay", "run.record", "output.manual", "images.open")
    assert all(find_spec(f"nodespec.{name}") for name in apart)
    assert not own & {f"nodespec.{name}" for name in apart}
    assert not modules & {"shutil", "lzma", "bz2", "multiprocessing", "concurrent"}


def test_what_a_check_by_the_library_needs_no_more(ready: Dict[str, List[str]]) -> None:
    """OpenSSL, JSON's patterns, textwrap's: each was a twentieth of a check or more."""
    modules = set(ready["modules"])
    assert "json" not in modules or ready["sockets"]  # Docker answers in it
    assert not modules & {"yaml", "hashlib", "hmac", "_hashlib", "textwrap", "random", "tempfile", "ast"}
    own = own_modules(modules)
    assert len(own) <= 76, sorted(own)  # two of them where several kernels are installed
    apart = ("_swap_files", "_sysctl_at_boot")
    assert all(find_spec(f"nodespec.checks.{name}") for name in apart)
    assert not own & {f"nodespec.checks.{name}" for name in apart}


def test_nothing_is_compiled(ready: Dict[str, List[str]]) -> None:
    """The first text that is compiled readies Python's whole grammar: 3 ms; a constructor of a record takes 0.1 ms."""
    assert [text for text in ready["compiled"] if "fileobj, fd" not in text] == []  # a record of `selectors`


def test_lines_carried(ready: Dict[str, int]) -> None:
    """What a bundle compiles at each start: a thousand lines take as long as a bare Python."""
    assert ready["lines"] < 12_200, ready["lines"]  # 900 of them where several kernels or containerd are installed


LAZY = """
import re, sys
from nodespec.author.spec.yaml_source import parse
plain = re.compile
assert parse(b"a: 1", "a.yaml") == {"a": "1"}
import yaml
assert re.compile is plain and isinstance(re.compile("a"), re.Pattern)
resolvers = [pattern for rows in yaml.resolver.Resolver.yaml_implicit_resolvers.values() for _, pattern in rows]
assert len(resolvers) > 10 and not any(isinstance(pattern, re.Pattern) for pattern in resolvers)
print(yaml.safe_load("[2026-01-02, 1.5, 0x10, yes, text]"), parse.__name__)
"""


def test_no_pattern_of_pyyaml_is_compiled_for_a_spec() -> None:
    """They took a third of a check by a YAML spec. Another user of PyYAML in the same process gets them."""
    done = subprocess.run([sys.executable, "-c", LAZY], cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stdout == "[datetime.date(2026, 1, 2), 1.5, 16, True, 'text'] parse\n"
