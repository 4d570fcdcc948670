"""Value of a kernel parameter after a write, as kernel/sysctl.c parses it.

A number is decimal, octal after 0 or hexadecimal after 0x. Blanks may precede it, and a blank ends it: `1 # on` is 1,
and `07` is 7. Any other text after it, and a number out of range, is refused: `60;` keeps the previous value. A list of
numbers is written one by one up to the first that is refused. Text is kept as a whole.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Sequence, Tuple

INT, UINT, ULONG = (-(1 << 31), (1 << 31) - 1), (0, (1 << 32) - 1), (0, (1 << 64) - 1)
NATURAL = (0, INT[1])
FIRST_UNPRIVILEGED_PORT = 1024  # the first unprivileged port, unless that was set
MAX_DIGITS = 20  # with sign and prefix
_NUMBER = re.compile(r"[ \t\n\v\f\r]*((-?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*))(?![^ \t\n])")


class ValueReader(NamedTuple):
    """Format that a handler accepts.

    `sure` is the range that every kernel accepts, `maybe` the range that some accept. `size` is the number of values.
    """

    sure: Tuple[int, int]
    maybe: Tuple[int, int]
    size: int = 1
    flag: bool = False  # every value except 0 is stored as 1
    known: bool = True


class SysctlAssignment(NamedTuple):
    """A line of a file.

    `path` is below /proc/sys and may have wildcards. Without a value the path is excluded from wildcards.
    """

    path: str
    value: Optional[str]
    at: Evidence
    sure: bool = True  # whether the reader gets as far as this line


class WriteResult(NamedTuple):
    """Result of a write; `value` is None if it was refused and nothing changed.

    `others` are further possible values, `doubt` is the reason for them.
    """

    value: Optional[str]
    doubt: str = ""
    others: Tuple[str, ...] = ()


# Kept as text, or parsed otherwise than as numbers: lists of ports, bitmaps, names of algorithms.
_TEXTS = """
kernel.core_pattern kernel.hostname kernel.domainname kernel.modprobe kernel.hotplug kernel.poweroff_cmd
kernel.watchdog_cpumask kernel.seccomp.actions_logged kernel.ftrace_dump_on_oops kernel.bootloader_* kernel.spl.*
kernel.apparmor_* net.core.default_qdisc net.core.flow_limit_cpu_bitmap net.core.rps_default_mask
net.ipv4.tcp_*congestion_control net.ipv4.ip_local_reserved_ports net.ipv4.tcp_fastopen_key
net.ipv6.conf.*.stable_secret net.mptcp.scheduler net.mptcp.path_manager net.netfilter.nf_log.* fs.binfmt_misc.*
sunrpc.* dev.parport.* crypto.* net.ipv4.vs.sync_ports net.sctp.cookie_hmac_alg vm.lowmem_reserve_ratio
"""
# `MIN MAX`, or `MIN/MIN MAX/MAX` if kernels differ, then the parameters. The first match counts.
_RANGES = """
0 1: fs.protected_hardlinks fs.protected_symlinks kernel.dmesg_restrict kernel.softlockup_panic kernel.hardlockup_panic
0 1: kernel.watchdog kernel.nmi_watchdog kernel.soft_watchdog kernel.timer_migration kernel.sched_schedstats
0 1/int: net.ipv4.icmp_echo_ignore_all net.ipv4.icmp_echo_ignore_broadcasts
0 1/int: net.ipv4.icmp_ignore_bogus_error_responses
0 2: fs.protected_fifos fs.protected_regular fs.suid_dumpable kernel.kptr_restrict kernel.unprivileged_bpf_disabled
0 2: vm.overcommit_memory vm.panic_on_oom kernel.io_uring_disabled net.core.bpf_jit_harden
0 2/int: net.ipv4.tcp_tw_reuse
0 3: kernel.yama.ptrace_scope
1 1: kernel.modules_disabled kernel.kexec_load_disabled
0 60: kernel.watchdog_thresh
0 100: vm.dirty_ratio vm.dirty_background_ratio vm.compaction_proactiveness
0 200: vm.swappiness
0 31: vm.page-cluster
1 4: vm.drop_caches
301 4194304: kernel.pid_max
0 1024/port: net.ipv4.ip_unprivileged_port_start
0 255/int: net.ipv4.tcp_syncookies net.ipv4.tcp_sack net.ipv4.tcp_timestamps net.ipv4.tcp_window_scaling
0 255/int: net.ipv4.tcp_mtu_probing net.ipv4.tcp_slow_start_after_idle net.ipv4.tcp_moderate_rcvbuf
0 255/int: net.ipv4.tcp_no_metrics_save net.ipv4.tcp_dsack net.ipv4.tcp_rfc1337 net.ipv4.tcp_retries1
0 255/int: net.ipv4.tcp_retries2 net.ipv4.tcp_synack_retries net.ipv4.tcp_orphan_retries net.ipv4.tcp_keepalive_probes
0 255/int: net.ipv4.tcp_abort_on_overflow net.ipv4.tcp_autocorking net.ipv4.ip_nonlocal_bind
-2147483 2147483/int: net.ipv4.tcp_keepalive_time net.ipv4.tcp_keepalive_intvl net.ipv4.tcp_fin_timeout
0 natural: fs.inotify.* user.* vm.max_map_count vm.vfs_cache_pressure net.core.somaxconn kernel.msgmax kernel.msgmnb
0 natural: net.netfilter.nf_conntrack_max net.nf_conntrack_max net.ipv4.neigh.*.gc_thresh* vm.min_free_kbytes
0 natural/uint: kernel.keys.*
0 long/ulong: fs.file-max
0 ulong: fs.aio-max-nr kernel.shmmax kernel.shmall vm.nr_hugepages vm.nr_overcommit_hugepages vm.dirty_bytes
0 ulong: vm.dirty_background_bytes vm.overcommit_kbytes vm.user_reserve_kbytes vm.admin_reserve_kbytes vm.mmap_min_addr
0 ulong: fs.epoll.max_user_watches kernel.hung_task_timeout_secs
int: net.ipv4.conf.* net.ipv6.conf.* net.ipv4.ip_forward kernel.panic kernel.panic_on_oops kernel.sysrq
int: vm.overcommit_ratio kernel.perf_event_paranoid kernel.randomize_va_space vm.oom_kill_allocating_task
int: net.ipv4.tcp_max_syn_backlog net.ipv4.tcp_max_tw_buckets net.ipv4.tcp_max_orphans kernel.core_uses_pid
int: kernel.sched_rt_runtime_us net.core.netdev_max_backlog net.core.netdev_budget net.unix.max_dgram_qlen
"""
FLAGS = "net.bridge.bridge-nf-"  # every value except 0 is stored as 1
VECTORS = {
    "net.ipv4.tcp_rmem": 3,
    "net.ipv4.tcp_wmem": 3,
    "net.ipv4.tcp_mem": 3,
    "net.ipv4.udp_mem": 3,
    "net.sctp.sctp_mem": 3,
    "net.sctp.sctp_rmem": 3,
    "net.sctp.sctp_wmem": 3,
    "net.ipv4.ip_local_port_range": 2,
    "net.ipv4.ping_group_range": 2,
    "kernel.sem": 4,
    "kernel.printk": 4,
    "kernel.acct": 3,
}
# Defaults of every kernel since 4.19, independent of its build and of the machine.
DEFAULTS = {
    "fs.inotify.max_queued_events": "16384",
    "fs.inotify.max_user_instances": "128",
    "kernel.keys.maxbytes": "20000",
    "kernel.keys.maxkeys": "200",
    "kernel.keys.root_maxbytes": "25000000",
    "kernel.keys.root_maxkeys": "1000000",
    "net.bridge.bridge-nf-call-arptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.ipv4.conf.all.forwarding": "0",
    "net.ipv4.conf.default.forwarding": "0",
    "net.ipv4.ip_forward": "0",
    "net.ipv4.ip_local_port_range": "32768 60999",
    "net.ipv4.ip_nonlocal_bind": "0",
    "net.ipv4.ip_unprivileged_port_start": "1024",
    "net.ipv6.conf.all.forwarding": "0",
    "net.ipv6.conf.default.forwarding": "0",
    "vm.max_map_count": "65530",
    "vm.overcommit_memory": "0",
    "vm.overcommit_ratio": "50",
    "vm.panic_on_oom": "0",
    "vm.swappiness": "60",
}
LONG = (0, (1 << 63) - 1)
NAMED_RANGES = {"int": INT, "uint": UINT, "ulong": ULONG, "natural": NATURAL, "long": LONG, "port": (0, 65535)}


def simulate_write(key: str, text: str, before: Optional[str]) -> WriteResult:
    """Return the value of a parameter after a text was written to it.

    `before` is the previous value; None if it is not known.
    """
    kind, folded = find_value_reader(key), " ".join(text.split())
    is_text = any(fnmatchcase(key, pattern) for pattern in _TEXTS.split())
    if is_text or (not kind.known and not re.match(r"[-+\d]|$", folded)):  # No known handler of numbers reads it.
        return WriteResult(folded)
    numbers, is_complete = _parse_numbers(text, kind.size)
    if kind.size > 1:
        return _write_number_list(key, kind, numbers, before, whole=is_complete)
    return _write_number(key, kind, numbers[0], folded) if numbers else WriteResult(None)


def _write_number(key: str, kind: ValueReader, number: int, folded: str) -> WriteResult:
    accepted, value = _is_accepted(number, kind), str(int(bool(number)) if kind.flag else number)
    if accepted is None:
        return WriteResult(value, f"whether this kernel accepts {value} for {key} is not known")
    if accepted and not kind.known and " " in folded and _is_plain(folded):
        return WriteResult(value, "whether it holds one number or several is not known", (folded,))
    return WriteResult(value if accepted else None)


def find_value_reader(key: str) -> ValueReader:
    """Return how a parameter is parsed.

    For an unknown parameter it is what any handler of numbers accepts.
    """
    if key in VECTORS:
        bounds = ULONG if key.endswith("_mem") else (1, INT[1]) if "mem" in key else INT
        return ValueReader(bounds, bounds, VECTORS[key])
    if key.startswith(FLAGS):
        return ValueReader(INT, INT, flag=True)
    for sure, maybe, names in _parse_ranges():
        if any(fnmatchcase(key, name) for name in names):
            return ValueReader(sure, maybe)
    return ValueReader(NATURAL, (INT[0], ULONG[1]), known=False)


def _parse_ranges() -> Iterator[Tuple[Tuple[int, int], Tuple[int, int], Sequence[str]]]:
    """Parse `0 255/int: NAMES`.

    Every kernel accepts 0 to 255, and some accept every int.
    """
    for line in _RANGES.strip().split("\n"):
        bounds, _, names = line.partition(": ")
        sure, _, maybe = bounds.partition("/")
        least, _, most = sure.rpartition(" ")
        wide = NAMED_RANGES[maybe or most] if maybe or most in NAMED_RANGES else (int(least), int(most))
        known: List[str] = [*names.split()]
        yield (
            (int(least) if least else wide[0], NAMED_RANGES[most][1] if most in NAMED_RANGES else int(most)),
            wide,
            known,
        )


def _parse_numbers(text: str, count: int) -> Tuple[List[int], bool]:
    """Return the numbers up to the first that is refused, and whether all are valid."""
    numbers: List[int] = []
    offset = 0
    while len(numbers) < count and text[offset:].strip(" \t\n\v\f\r"):
        match = _NUMBER.match(text, offset)
        number = _parse_number(match) if match else None
        if not match or number is None:
            return numbers, False
        numbers.append(number)
        offset = match.end()
    return numbers, bool(numbers)


def _parse_number(match: re.Match[str]) -> Optional[int]:
    digits = match[3].lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    number = int(digits, base)
    return None if len(match[1]) > MAX_DIGITS or number > ULONG[1] else -number if match[2] else number


def _is_accepted(number: int, kind: ValueReader) -> Optional[bool]:
    if kind.sure[0] <= number <= kind.sure[1]:
        return True
    return None if kind.maybe[0] <= number <= kind.maybe[1] else False


def _write_number_list(
    key: str, kind: ValueReader, numbers: List[int], before: Optional[str], *, whole: bool
) -> WriteResult:
    """Return the value of a list of numbers.

    Each is set until one is refused; the others keep their value. Port ranges are set at once.
    """
    good = next((index for index, number in enumerate(numbers) if not _is_accepted(number, kind)), len(numbers))
    if key == "net.ipv4.ip_local_port_range":
        return _write_port_range(numbers if whole and good == len(numbers) else [], before)
    if key == "net.ipv4.ping_group_range" and not whole:
        return WriteResult(None)
    if not good:
        return WriteResult(None)
    held = before.split() if before else []
    kept = held[good:] if len(held) == kind.size else []
    if good + len(kept) < kind.size:
        return WriteResult(" ".join(map(str, numbers[:good])), "only some of its numbers are written")
    return WriteResult(" ".join([*map(str, numbers[:good]), *kept]))


def _write_port_range(numbers: List[int], before: Optional[str]) -> WriteResult:
    """Return the value of a port range, which is set at once.

    The first port must not be above the last, or below net.ipv4.ip_unprivileged_port_start.
    """
    held = [int(port) for port in (before or "").split()] if _is_plain(before or "") else []
    low, high = (*numbers, *held[len(numbers) :], 0, 0)[:2]
    if not numbers or not 0 < low <= high < 1 << 16:
        return WriteResult(None)
    doubt = (
        ""
        if low >= FIRST_UNPRIVILEGED_PORT
        else "whether it begins below net.ipv4.ip_unprivileged_port_start is not known"
    )
    return WriteResult(f"{low} {high}", doubt)


def _is_plain(text: str) -> bool:
    return bool(re.fullmatch(r"-?(0|[1-9][0-9]*)( -?(0|[1-9][0-9]*))*", text))
