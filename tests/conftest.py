from __future__ import annotations

import gc
import hashlib
import signal
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Protocol, Union

import pytest
from hypothesis import HealthCheck, settings
from unhurried import unhurried

HOSTS = Path(__file__).parent / "hosts"
# the same inputs each time, so that a change is told by what it breaks; `--hypothesis-profile others` finds more
settings.register_profile("others", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("others"), derandomize=True)
settings.load_profile("same")
# A shell without job control ignores these for a command in the background, and programs that tests start inherit that.
for ignored in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(ignored) == signal.SIG_IGN:
        signal.signal(ignored, signal.default_int_handler if ignored == signal.SIGINT else signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/reports/golden anew")
    parser.addoption("--exhaustive", action="store_true", help="run every case of the tests marked `sampled`")


def pytest_collection_modifyitems(config: pytest.Config, items: List[pytest.Item]) -> None:
    """Keep a sample of the cases of each test marked `sampled`: those with the lowest digests of their names.

    All cases run with `--exhaustive` or `--update-golden`, and if a test is named on the command line.
    """
    everything = config.getoption("--exhaustive") or config.getoption("--update-golden")
    if everything or any("::" in argument for argument in config.args):
        return
    cases: Dict[str, List[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sampled"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    dropped = set()
    for group in cases.values():
        mark = group[0].get_closest_marker("sampled")
        number = mark.args[0] if mark else len(group)
        group.sort(key=lambda item: hashlib.sha256(item.name.encode()).digest())
        dropped.update(group[number:])
    config.hook.pytest_deselected(items=[item for item in items if item in dropped])
    items[:] = [item for item in items if item not in dropped]


def pytest_collection_finish() -> None:
    """Do not let each garbage collection walk thousands of collected tests, which takes a tenth of the run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture(scope="session", autouse=True)
def _no_hurry() -> Iterator[None]:
    with unhurried():
        yield


class MakeTree(Protocol):
    def __call__(self, files: Mapping[str, Union[str, bytes, None]], links: Mapping[str, str] = ...) -> str: ...


@pytest.fixture
def make_tree(tmp_path: Path) -> MakeTree:
    """A root tree from a mapping of absolute paths to contents (None: a directory), and of links to targets."""

    def make(files: Mapping[str, Union[str, bytes, None]], links: Mapping[str, str] = {}) -> str:
        for name, content in files.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
                path.chmod(0o755 if path.name == "modprobe" else 0o644)
        for name, target in links.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(target)
        return str(tmp_path)

    return make
