"""sysctl.d of many small trees: does nodespec say what systemd-sysctl, procps and busybox leave in the kernel?

    python tests/stages/sysctl_oracle.py CACHE [--files N] [--seed N]

As root, with systemd, procps and busybox. Each program sets what files assign that are made from a seed, in a network
namespace of its own that is set to the kernel's defaults before; and each value is written to a parameter alone, as
the kernel parses it. The exit status is 1 where the kernel holds another value than nodespec says, or where too much is
unknown.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

from nodespec.checks import _sysctl_at_boot, _sysctl_values
from nodespec.model.observation import Value

FILES, SEED, VALUES = 500, 6, 1500
MOST_UNKNOWN = 0.05  # of all answers
PROC = Path("/proc/sys")
READERS: Mapping[str, Tuple[str, ...]] = {
    "systemd": ("/lib/systemd/systemd-sysctl",),
    "procps": ("/sbin/sysctl", "-q", "-p"),
    "busybox": (shutil.which("busybox") or "/bin/busybox", "sysctl", "-q", "-p"),
}
# parameters of a network namespace, and what they hold before
KEYS: Mapping[str, str] = {
    "net.core.somaxconn": "4096",
    "net.ipv4.ip_forward": "0",
    "net.ipv4.conf.all.forwarding": "0",
    "net.ipv4.conf.default.forwarding": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.lo.rp_filter": "0",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv4.tcp_rmem": "4096 131072 6291456",
    "net.ipv4.ip_local_port_range": "32768 60999",
    "net.ipv4.tcp_keepalive_time": "7200",
    "net.ipv4.ip_unprivileged_port_start": "1024",
    "net.unix.max_dgram_qlen": "10",
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv4.ip_nonlocal_bind": "0",
}
COMMON = (
    "0",
    "1",
    "2",
    "1 # why",
    "07",
    "0x10",
    "010",
    "60;",
    "4096 1",
    "-1",
    "99999999999",
    "1\r",
    "",
    "08",
    "1\t",
    '"1"',
)
OTHERS = (
    "1=2",
    "1,2",
    "+1",
    "- 1",
    "0x",
    "1e3",
    "2147483647",
    "2147483648",
    "4294967295",
    "000000000000000000001",
    "1\x0b",
)
LISTS = (
    "1 2 3",
    "4096 87380 6291456",
    "4096\t5000",
    "1 2 x",
    "1 2 3 4",
    "1024 65535",
    "65535 1024",
    "1024",
    "32768-60999",
)
FORMS = (
    "{k} = {v}",
    "{k}={v}",
    "{k}={v}",
    "  {k}\t=  {v}  ",
    "-{k} = {v}",
    "- {k} = {v}",
    "{s} = {v}",
    "{s}= {v}",
    "{k} {v}",
)
MORE = (
    "# {k}={v}",
    ";{k}={v}",
    "{k}",
    "-{k}",
    "{g}={v}",
    "{g} = {v}",
    "{k}={v}\\",
    "{k} : {v}",
    "{k}={v} ; more",
    "{k}={v}\0 more",
    "\0{k}={v}",
    "{k}\0={v}",
    "{k}={v}\r{k}={v}0",
    "\u00a0{k}={v}",
    "{k}=\u00a0{v}",
    "{k}={v}\v",
    "\ufeff{k}={v}",
    "",
    " \t",
)
GLOBS = ("net.ipv4.conf.*.rp_filter", "net/ipv4/conf/a*/rp_filter", "net.ipv4.conf.[ad]*.forwarding", "net.core.somax*")


class Trial(NamedTuple):
    """A file and what each reader left in the parameters that differ from what was there before."""

    text: str
    held: Mapping[str, Mapping[str, str]]


def main(files: int, seed: int) -> int:
    """The exit status; what was compared is printed."""
    if os.environ.get("SYSCTL_ORACLE") != "inside":
        again = [sys.executable, *sys.argv]
        return subprocess.run(
            ["/usr/bin/unshare", "--net", *again], env={**os.environ, "SYSCTL_ORACLE": "inside"}, check=False
        ).returncode
    present = {key: value for key, value in KEYS.items() if path_of(key).exists()}
    rolls = random.Random(seed)  # noqa: S311 - the same files each time
    asked, unknown, differ = compare_writes(present, rolls)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(files):
            text = make_file(rolls)
            for reader, command in READERS.items():
                some, doubtful, wrong = compare_reader(Path(folder), reader, command, text, present)
                asked, unknown, differ = asked + some, unknown + doubtful, differ + wrong
    for line in differ[:40]:
        print(f"differs  {line}")
    print(
        f"{files} files, {VALUES} writes of seed {seed}: {asked} answers, {len(differ)} differ, {unknown} are unknown"
    )
    return int(bool(differ) or unknown > MOST_UNKNOWN * asked)


def compare_writes(present: Mapping[str, str], rolls: random.Random) -> Tuple[int, int, List[str]]:
    """Single values, each written to a parameter that was reset before."""
    unknown, differ = 0, []
    for _ in range(VALUES):
        key = rolls.choice([*present])
        text = rolls.choice((*COMMON, *OTHERS, *LISTS, number(rolls)))
        reset(present)
        write(key, f"{text}\n")
        seen = _sysctl_values.simulate_write(key, text, present[key])
        held = read(key)
        unknown += bool(seen.doubt)
        if not seen.doubt and held != (present[key] if seen.value is None else seen.value):
            differ.append(f"{key} <- {text!r}: the kernel holds {held}, nodespec says {seen.value}")
    return VALUES, unknown, differ


def number(rolls: random.Random) -> str:
    """A number in some form, near the bounds of its type."""
    value = rolls.choice([0, 1, 255, 256, 65535, 65536, 1 << 31, 1 << 32, 1 << 63]) + rolls.randint(-2, 2)
    return rolls.choice(["{}", "{:#x}", "0{:o}", " {}", "{} ", "{} x", "{}x", "00{}"]).format(value)


def make_file(rolls: random.Random) -> str:
    """Some lines of assignments."""
    lines = []
    for _ in range(rolls.randint(1, 5)):
        key = rolls.choice([*KEYS])
        values = LISTS if " " in KEYS[key] and rolls.random() < 0.7 else COMMON if rolls.random() < 0.8 else OTHERS
        line = rolls.choice(FORMS if rolls.random() < 0.7 else MORE)
        for name, value in (
            ("k", key),
            ("s", key.replace(".", "/")),
            ("g", rolls.choice(GLOBS)),
            ("v", rolls.choice(values)),
        ):
            line = line.replace(f"{{{name}}}", value)
        lines.append(line)
    return "\n".join(lines) + rolls.choice(["\n", "\n", ""])


def compare_reader(
    folder: Path, reader: str, command: Tuple[str, ...], text: str, present: Mapping[str, str]
) -> Tuple[int, int, List[str]]:
    """What a program leaves in the kernel, and what nodespec says that it leaves."""
    file = folder / "a.conf"
    file.write_bytes(text.encode())
    reset(present)
    subprocess.run([*command, str(file)], capture_output=True, check=False)
    assigned = _sysctl_at_boot.order_assignments(_sysctl_at_boot.parse_sysctl(str(file), text, reader), reader)
    unknown, differ = 0, []
    for key, before in present.items():
        seen = assigned.observe(key)
        said: Optional[str] = (
            before if seen is None else seen.value if isinstance(seen, Value) and not seen.others else None
        )
        held = read(key)
        unknown += said is None
        if said is not None and said != held:
            differ.append(f"{reader}: {key}: the kernel holds {held}, nodespec says {said}: {text!r}")
    return len(present), unknown, differ


def reset(present: Mapping[str, str]) -> None:
    """Every parameter as it was, and those last that others change too."""
    for key, value in sorted(present.items(), key=lambda item: "default" in item[0]):
        if read(key) != value:
            write(key, f"{value}\n")
    held: Dict[str, str] = {key: read(key) for key in present}
    if held != dict(present):
        raise RuntimeError(f"a parameter cannot be reset: {held}")


def path_of(key: str) -> Path:
    return PROC / key.replace(".", "/")


def read(key: str) -> str:
    return " ".join(path_of(key).read_text().split())


def write(key: str, text: str) -> None:
    """One write, as it is; what the kernel refuses is refused."""
    handle = os.open(path_of(key), os.O_WRONLY)
    try:
        os.write(handle, text.encode())
    except OSError:
        pass
    finally:
        os.close(handle)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("cache")
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    sys.exit(main(options.files, options.seed))
