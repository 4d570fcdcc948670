"""The order of versions against the originals: dpkg's own in Perl, and rpm's own in its Lua.

    python tests/stages/versions.py CACHE [PAIRS]

As root; libdpkg-perl and rpm are installed from Debian first where they are not there. So many generated pairs are
compared by either in one process. The exit status is 1 where one pair is ordered otherwise here.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Optional

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP))

from debian import installed, said  # noqa: E402 - it is in this directory, where Python starts

from nodespec.facts.versions import DEB, RPM, Scheme  # noqa: E402 - this folder is where Python starts, not the top

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PAIRS = 100_000
PERL = "/usr/bin/perl"
DPKG = r"""
use Dpkg::Version;
while (my $line = <STDIN>) {
    my ($one, $other) = map { Dpkg::Version->new($_, check => 1) } split ' ', $line;
    print defined $one && defined $other ? $one <=> $other : 'none', "\n";
}
"""
LUA = r"""
for line in io.lines("%s") do
  local one, other = line:match("^(%%S+) (%%S+)$")
  print(rpm.vercmp(one, other) .. " ")
end
"""
Pair = tuple[str, str]
Order = Optional[int]  # -1, 0 or 1; None if one of the two is not a version


class Original(NamedTuple):
    """A scheme, what its versions are made of, and who else compares them."""

    scheme: Scheme
    made: Callable[[random.Random], str]
    like: re.Pattern[str]  # what alone is asked: Perl takes `1:`, which dpkg does not
    compared: Callable[[Sequence[Pair]], list[Order]]


SEED = 2016  # the same pairs each time: what fails here fails again


def main(pairs: int = PAIRS) -> int:
    """The exit status; pairs that are ordered otherwise are printed."""
    if not shutil.which("rpm") or subprocess.run([PERL, "-MDpkg::Version", "-e", "1"], check=False).returncode:
        installed("rpm", "libdpkg-perl")
    wrong = 0
    for name, original in ORIGINALS.items():
        drawn = random.Random(SEED)  # noqa: S311 - the choice of pairs is not secret
        made = [pair(original, drawn) for _ in range(pairs)]
        differ = [one for one, order in zip(made, original.compared(made)) if ours(original.scheme, *one) != order]
        known = [ours(original.scheme, *one) for one in made]
        equal, none = known.count(0), known.count(None)
        print(f"{name}: {len(made)} pairs, {equal} equal, {none} without an order, {len(differ)} differ")
        for one, other in differ[:20]:
            print(f"  {one} and {other}: {ours(original.scheme, one, other)} here")
        wrong += len(differ) + (equal == 0)
    return int(wrong > 0)


def ours(scheme: Scheme, one: str, other: str) -> Order:
    try:
        before, after = scheme.key(one), scheme.key(other)
    except ValueError:
        return None
    return (before > after) - (before < after)


def pair(original: Original, drawn: random.Random) -> Pair:
    """Return two versions, mostly similar: different ones test no detail of the order."""
    one = original.made(drawn)
    other = changed(one, drawn) if drawn.random() < ALIKE else original.made(drawn)
    return one, other if original.like.fullmatch(other) else one


ALIKE = 0.8  # of the pairs


def changed(version: str, drawn: random.Random) -> str:
    """A version with a piece put in, left out, or exchanged."""
    at, size, piece = drawn.randrange(len(version) + 1), drawn.randrange(3), drawn.choice(PIECES)
    return version[:at] + drawn.choice((piece, "")) + version[at + size :]


PIECES = [
    "0",
    "1",
    "9",
    "10",
    "00",
    "01",
    "a",
    "b",
    "Z",
    "rc",
    "~",
    "~~",
    "~rc1",
    "^",
    "^git2",
    "+",
    ".",
    "..",
    "-",
    "_",
]


def deb(drawn: random.Random) -> str:
    """`1:1.2~rc1+ds-0.1`, with every part that may be left out."""
    epoch = drawn.choice(("", "", "0:", "1:", "10:"))
    upstream = drawn.choice("0123456789") + text(drawn, "0123456789abzAZ.+~", 8)
    hyphen = drawn.choice(("", "", "-1")) and f"-{text(drawn, '01a.', 2) or '0'}"
    revision = drawn.choice(("", "-" + (text(drawn, "0129az.+~", 5) or "0")))
    return epoch + upstream + (hyphen if revision else "") + revision


def rpm(drawn: random.Random) -> str:
    """One version as `rpmvercmp` takes it: no epoch, no release."""
    return drawn.choice("0123456789az") + text(drawn, "0123456789abzAZ.+~^_", 9)


def text(drawn: random.Random, alphabet: str, longest: int) -> str:
    return "".join(drawn.choices(alphabet, k=drawn.randrange(longest + 1)))


def by_dpkg(pairs: Sequence[Pair]) -> list[Order]:
    lines = "".join(f"{one} {other}\n" for one, other in pairs)
    command = [PERL, "-e", DPKG]
    done = subprocess.run(
        command, input=lines, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="ascii", check=True
    )
    return orders(done.stdout, pairs)


def by_rpm(pairs: Sequence[Pair]) -> list[Order]:
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "pairs"
        listed.write_text("".join(f"{one} {other}\n" for one, other in pairs))
        script = Path(folder) / "compare.lua"
        script.write_text(LUA % listed)
        return orders(said("rpm", "--eval", f'%{{lua:dofile("{script}")}}'), pairs)


def orders(output: str, pairs: Sequence[Pair]) -> list[Order]:
    found: list[Order] = [None if said == "none" else int(said) for said in output.split()]
    if len(found) != len(pairs):
        raise RuntimeError(f"{len(found)} orders of {len(pairs)} pairs")
    return found


ORIGINALS = {
    "deb": Original(DEB, deb, re.compile(".*[^:]"), by_dpkg),
    "rpm": Original(RPM, rpm, re.compile("[^-]*[A-Za-z0-9][^-]*"), by_rpm),
}

if __name__ == "__main__":
    if os.geteuid() and not shutil.which("rpm"):
        print("rpm is not installed; root privileges are required to install it")
        sys.exit(77)
    sys.exit(main(*map(int, sys.argv[2:3])))
