"""What tests/stages/fuzz.py, tests/stages/versions.py and readers of reports have found, each once."""

from __future__ import annotations

import time

import pytest
from pretended import found, planned

from nodespec.errors import UsageError
from nodespec.facts.versions import DEB
from nodespec.output.facts_yaml import format_facts
from nodespec.recording.replay import ReplayedFacts


def test_the_source_of_what_is_absent_is_shown_without_its_controls() -> None:
    facts = ReplayedFacts({"os.codename": {"absent": "", "from": "\x1b[2J\n/etc/os-release"}})
    (line,) = [line for line in format_facts(["os"], facts, every=True) if "codename" in line]
    assert line == r"  codename: absent  # absent; \x1b[2J\n/etc/os-release"


@pytest.mark.parametrize(
    ("expects", "said"),
    [
        ("kernel: {version: '" + ">=1 || " * 20_000 + "<2'}", "distinguishes 120006 values; the maximum is 1000"),
        ("os: {id: [" + ", ".join(map(str, range(9000))) + "]}", "distinguishes 9000 values; the maximum is 1000"),
        ("kernel: {release: {matches: '" + "a" * 1001 + "'}}", "the pattern has 1001 characters; the maximum is 1000"),
        ("kernel: {release: {matches: '" + "([^1]*)*" * 100 + "'}}", "takes too long to match"),
    ],
    ids=["range", "list", "long", "slow"],
)
def test_an_expectation_is_read_in_time_or_refused(expects: str, said: str) -> None:
    begun = time.process_time()
    with pytest.raises(UsageError, match=said):
        planned(spec=f"require: {{{expects}}}")
    assert time.process_time() - begun < 10


def test_a_choice_of_thousands_is_refused() -> None:
    with pytest.raises(UsageError, match=r"too many alternatives of `any` \(9000\); the maximum is 300"):
        planned(spec="rules: [{name: r, any: [" + "{swap: {total: 1}}, " * 9000 + "]}]")


@pytest.mark.parametrize("version", ["1-", "2:1.0-", "1.2--"])
def test_a_revision_that_dpkg_finds_empty_is_none(version: str) -> None:
    with pytest.raises(ValueError, match="is not a Debian version"):
        DEB.key(version)
    assert DEB.key("1-0") == DEB.key("1")


@pytest.mark.parametrize(("unwanted", "proposed"), [("n", "y"), ("y", "m")])
def test_a_fix_of_what_shall_not_be_proposes_what_may(unwanted: str, proposed: str) -> None:
    plan = planned(spec=f"require: {{kernel: {{config: {{USER_NS: {{not: {unwanted}}}}}}}}}")
    (finding,) = found(plan, {"kernel.config.USER_NS": unwanted}).values()
    assert finding.fix.endswith(f"CONFIG_USER_NS: {proposed}")


@pytest.mark.parametrize("version", ["1.2.3-4", "6.1.0-18-amd64", "v2-1"])
def test_a_revision_in_a_range_of_releases_is_refused(version: str) -> None:
    with pytest.raises(UsageError, match="releases are ordered without the part after `-`; omit it"):
        planned(spec=f'require: {{packages: {{runc: {{version: ">={version}"}}}}}}')
