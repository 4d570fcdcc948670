from __future__ import annotations

import signal
from pathlib import Path
from typing import Iterator, Mapping, Protocol, Union

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
