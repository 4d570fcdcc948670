"""Versions: one total order a scheme, spans, and what real strings come to."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from typing import Callable, List, Sequence, Tuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from packaging.version import Version as Pep440

from nodespec.facts.value_numbers import Version
from nodespec.facts.value_types import Near
from nodespec.facts.versions import DEB, RELEASE, RPM, Key, Scheme

NUMBER = st.integers(0, 12).map(str) | st.sampled_from(["00", "010", "20170227", "999999999"])
DOTTED = st.lists(NUMBER, min_size=1, max_size=4).map(".".join)
STAGE = st.sampled_from(
    ["", "-alpha", "-alpha.1", "-beta.2", "-rc1", "-rc.1", "-rc10", "rc2", "~rc3", "_beta4", "-0.rc5", "-0.2.alpha6"]
)
ADDED = st.sampled_from(["", "~ds1", "+unknown", "+dfsg", "+rc1", "+b1"])
RELEASES = st.builds(lambda number, stage, added: number + stage + added, DOTTED, STAGE, ADDED)
UPSTREAM = st.builds(lambda head, tail: head + tail, DOTTED, st.text("0123456789abzAZ.+~", max_size=5))
REVISION = st.just("") | st.text("0123456789az.+~", min_size=1, max_size=4).map("-{}".format)
EPOCH = st.sampled_from(["", "", "0:", "1:", "2:"])
DEBS = st.builds(lambda epoch, upstream, revision: epoch + upstream + revision, EPOCH, UPSTREAM, REVISION)
RPMS = st.builds(lambda epoch, upstream, revision: epoch + upstream + revision, EPOCH, UPSTREAM, REVISION)

SCHEMES = [(RELEASE, RELEASES), (DEB, DEBS), (RPM, RPMS)]
every_scheme = pytest.mark.parametrize(("scheme", "versions"), SCHEMES, ids=lambda value: getattr(value, "name", ""))


@every_scheme
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_an_order_is_total(scheme: Scheme, versions: st.SearchStrategy[str], data: st.DataObject) -> None:
    a, b, c = (scheme.key(data.draw(versions)) for _ in range(3))
    assert [a < b, a == b, a > b].count(True) == 1
    assert (a <= b) == (b >= a)
    if a <= b <= c:
        assert a <= c


@every_scheme
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_span_holds_its_own_version_and_has_two_sides(
    scheme: Scheme, versions: st.SearchStrategy[str], data: st.DataObject
) -> None:
    written, other = data.draw(versions), scheme.key(data.draw(versions))
    low, high = scheme.span(written)
    assert low < high
    assert low <= (scheme.key(written), 0) < high
    assert [(other, 0) < low, low <= (other, 0) < high, (other, 0) >= high].count(True) == 1


@every_scheme
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_what_stands_near_a_bound_stands_between(
    scheme: Scheme, versions: st.SearchStrategy[str], data: st.DataObject
) -> None:
    a, b = (scheme.key(data.draw(versions)) for _ in range(2))
    assume(a < b)
    assert Near((a, 0)) < Near((a, 1)) < Near((b, -1)) < Near((b, 0))


@settings(max_examples=150, deadline=None)
@given(DOTTED, st.lists(NUMBER, max_size=2), STAGE)
def test_a_release_as_written_is_every_release_that_begins_so(number: str, more: List[str], stage: str) -> None:
    low, high = RELEASE.span(number)
    assert low <= (RELEASE.key(".".join([number, *more])), 0) < high
    last = number.rsplit(".", maxsplit=1)[-1]
    following = ".".join([*number.split(".")[:-1], str(int(last) + 1)])
    assert (RELEASE.key(following + stage), 0) >= high
    if stage:
        assert (RELEASE.key(number + stage), 0) < low


@settings(max_examples=100, deadline=None)
@given(DOTTED, STAGE, ADDED)
def test_what_a_distribution_adds_says_nothing_of_a_release(number: str, stage: str, added: str) -> None:
    bare = number + stage
    assert RELEASE.key(bare + added) == RELEASE.key(bare) == RELEASE.key(f"v{bare}") == RELEASE.key(f"{bare}+deb12u1")


ASCENDING = {
    RELEASE: [
        ["0", "v0", "0.0.0"],
        ["0.9"],
        ["1-alpha.1", "1.0.0-alpha.1", "1.0alpha1"],
        ["1-alpha.2"],
        ["1-alpha.10"],
        ["1-beta"],
        ["1-beta.1"],
        ["1-rc1", "v1.0.0-rc.1", "1.0rc1"],
        ["1-rc2", "1.0.0~rc2", "1.0.0~rc2+ds1", "1.0_rc2", "1.0.0-0.rc2", "1.0-0.1.rc2.fc41", "1.0.0-RC2"],
        ["1.0.0~rc93+ds1"],
        ["1", "1.0", "v1.0.0", "1.0.0+unknown", "1.0~ds1"],
        ["1.1.1", "1.1.1n", "1.1.1w"],
        ["1.6.20", "1.6.20~ds1"],
        ["1.10"],
        ["2.1.9", "2.1.9+unknown", "v2.1.9"],
        ["2.1.10-rc.1"],
        ["2.1.10"],
        ["3.22.0_alpha20250108"],
        ["3.22.0_alpha20250109"],
        ["3.22.0"],
        ["4.18.0", "4.18.0-553.el8_10.x86_64"],
        ["6.1.176", "6.1.176-1"],
        ["6.10"],
        ["6.19.0-0.rc7.20260128git1f97d9dcf536.51.fc44"],
        ["6.19.0", "6.19.0-0", "6.19.0-1.rc7", "6.19.0-rclone", "6.19.0~betamax"],
        ["20.10.24", "20.10.24+dfsg1"],
        ["20170227"],
    ],
    DEB: [
        ["0~~"],
        ["0~"],
        ["0", "0-0", "0:0"],
        ["1.0~rc1-1"],
        ["1.0~rc2"],
        ["1.0", "1.0-0", "1.00", "0:1.0"],
        ["1.0-1~bpo12+1"],
        ["1.0-1"],
        ["1.0-1+b1"],
        ["1.0-1+deb12u1"],
        ["1.0-1.1"],
        ["1.0-2"],
        ["1.0-10"],
        ["1.0a"],
        ["1.0+dfsg-1"],
        ["1.0.1"],
        ["1.6.20~ds1-1+deb12u1"],
        ["1.6.20-1"],
        ["1.10"],
        ["2a"],
        ["2+b1"],
        ["2.0"],
        ["2.0-1-1"],
        ["1:0.1"],
        ["1:1.0"],
        ["2:0"],
    ],
    RPM: [
        ["1.0~rc1"],
        ["1.0", "1_0", "1.00"],
        ["1.0^git1"],
        ["1.0a"],
        ["1.0.1"],
        ["1.5.3-1.el9"],
        ["1.5.3-2.el9"],
        ["1.5.3-10.el9"],
        ["1.10"],
        ["1:0.5"],
    ],
}


@pytest.mark.parametrize("scheme", [RELEASE, DEB, RPM], ids=lambda scheme: scheme.name)
def test_real_strings_stand_in_this_order(scheme: Scheme) -> None:
    keys = [{scheme.key(text) for text in rank} for rank in ASCENDING[scheme]]
    assert [len(key) for key in keys] == [1] * len(keys)
    firsts = [next(iter(key)) for key in keys]
    assert firsts == sorted(firsts)
    assert len(set(firsts)) == len(firsts)


@pytest.mark.parametrize(
    ("scheme", "text"),
    [
        *itertools.product([RELEASE], ["", "x", "v", "-1", ".5", "~1", "one", "\n1", "\uff11"]),
        *itertools.product([DEB], ["", "a1", "1_0", "1:", ":1", "a:1", "1 0", "1\n"]),
        *itertools.product([RPM], ["", "~", "1-2-3", "x:1", "-"]),
    ],
)
def test_what_is_no_version_is_refused(scheme: Scheme, text: str) -> None:
    for read in (scheme.key, scheme.span):
        with pytest.raises(ValueError, match="is not a"):
            read(text)


@pytest.mark.parametrize("text", ["1.x", "1.5 2", "1.5/2", "6.1.0_foo", "1." + "9" * 19, "1.2.3.4.5.6.7.8.9.10.11"])
def test_a_spec_must_write_a_release_whole(text: str) -> None:
    with pytest.raises(ValueError, match="is not a version"):
        RELEASE.span(text)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40) | st.text("0123456789.-+~:v", max_size=5000))
def test_no_text_is_more_than_no_version(text: str) -> None:
    for scheme in (RELEASE, DEB, RPM):
        for read in (scheme.key, scheme.span):
            try:
                read(text)
            except ValueError as error:
                assert str(error)  # noqa: PT017 - a key is as good


PYTHON_STAGES = {"alpha": "a", "beta": "b", "rc": "rc"}
FORMS = ["-{}.{}", "-{}{}", "~{}{}", "~{}{}+ds1", "_{}{}", "-0.{}{}", "-0.{}.{}.fc42", "{}{}"]


@st.composite
def releases_and_python_versions(draw: st.DrawFn) -> Tuple[str, str]:
    """A release as some distribution writes it, and the same version in the order of PEP 440."""
    number, stage = draw(DOTTED), draw(st.sampled_from(["", *PYTHON_STAGES]))
    if not stage:
        return number + draw(ADDED), number
    count = draw(st.integers(0, 200))
    return number + draw(st.sampled_from(FORMS)).format(stage, count), f"{number}{PYTHON_STAGES[stage]}{count}"


@settings(max_examples=300, deadline=None)
@given(releases_and_python_versions(), releases_and_python_versions())
def test_pre_releases_stand_in_the_order_of_pep_440(one: Tuple[str, str], other: Tuple[str, str]) -> None:
    ours, theirs = (RELEASE.key(one[0]), RELEASE.key(other[0])), (Pep440(one[1]), Pep440(other[1]))
    assert (ours[0] < ours[1], ours[0] == ours[1]) == (theirs[0] < theirs[1], theirs[0] == theirs[1])


# the package system's own word


def compared(pairs: Sequence[Sequence[str]]) -> List[int]:
    """What dpkg's own library says of each pair, in one process."""
    program = "use Dpkg::Version; while (<>) { chomp; my ($a, $b) = split / /; print version_compare($a, $b), qq{\\n} }"
    text = "".join(f"{a} {b}\n" for a, b in pairs)
    done = subprocess.run(["perl", "-e", program], input=text, capture_output=True, text=True, check=True)  # noqa: S607
    return list(map(int, done.stdout.split()))


def has_dpkg() -> bool:
    if not shutil.which("perl"):
        return False
    return subprocess.run(["perl", "-MDpkg::Version", "-e1"], capture_output=True, check=False).returncode == 0  # noqa: S607


def sign(key: Callable[[str], Key], a: str, b: str) -> int:
    left, right = key(a), key(b)
    return (left > right) - (left < right)


@pytest.mark.skipif(not has_dpkg(), reason="no Dpkg::Version here")
def test_dpkg_orders_its_versions_the_same_way() -> None:
    pairs: List[Sequence[str]] = []

    @settings(max_examples=700, deadline=None, database=None, derandomize=True)
    @given(DEBS, DEBS)
    def drawn(a: str, b: str) -> None:
        pairs.append((a, b))

    drawn()
    texts = sorted({text for rank in ASCENDING[DEB] for text in rank})
    pairs += itertools.product(texts, texts)
    pairs = [pair for pair in pairs if not any(text.endswith("-") for text in pair)]
    theirs = compared(pairs)
    assert len(theirs) == len(pairs) > 1000
    ours = [sign(DEB.key, a, b) for a, b in pairs]
    assert [(pair, x) for pair, x, y in zip(pairs, theirs, ours) if x != y] == []


def test_what_is_too_long_for_a_version_is_none() -> None:
    for scheme in (RELEASE, DEB, RPM):
        with pytest.raises(ValueError, match="not a version"):
            Version(scheme).position("1" * 100_000)
