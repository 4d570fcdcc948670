"""Names of kernel parameters: their syntax, those that are never read, and what adds them."""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Unknown

if TYPE_CHECKING:
    from typing import Optional

# The module that adds the parameter.
MODULES = {
    "net.bridge.": "br_netfilter",
    "net.netfilter.nf_conntrack_": "nf_conntrack",
    "net.nf_conntrack_max": "nf_conntrack",
    "net.ipv4.vs.": "ip_vs",
    "net.mpls.": "mpls_router",
    "net.sctp.": "sctp",
    "net.smc.": "smc",
    "net.rds.": "rds",
    "net.vrf.": "vrf",
    "sunrpc.": "sunrpc",
    "fs.nfs.": "lockd",
    "fs.xfs.": "xfs",
    "dev.raid.": "md_mod",
    "dev.scsi.": "scsi_mod",
    "dev.cdrom.": "cdrom",
}
# The build option that the parameter requires.
OPTIONS = {
    "net.mptcp.": "MPTCP",
    "net.unix.": "UNIX",
    "net.core.bpf_jit_": "BPF_JIT",
    "net.core.default_qdisc": "NET_SCHED",
    "net.core.rps_": "RPS",
    "net.ipv4.tcp_syncookies": "SYN_COOKIES",
    "fs.mqueue.": "POSIX_MQUEUE",
    "fs.inotify.": "INOTIFY_USER",
    "fs.fanotify.": "FANOTIFY",
    "fs.epoll.": "EPOLL",
    "fs.quota.": "QUOTA",
    "fs.verity.": "FS_VERITY",
    "fs.aio-max-nr": "AIO",
    "crypto.fips_": "CRYPTO_FIPS",
    "vm.nr_hugepages": "HUGETLBFS",
    "vm.nr_overcommit_hugepages": "HUGETLBFS",
    "vm.hugetlb_": "HUGETLBFS",
    "vm.unprivileged_userfaultfd": "USERFAULTFD",
    "kernel.keys.": "KEYS",
    "kernel.seccomp.": "SECCOMP_FILTER",
    "kernel.unprivileged_bpf_disabled": "BPF_SYSCALL",
    "kernel.io_uring_": "IO_URING (Linux 6.6 or later)",
    "kernel.perf_": "PERF_EVENTS",
    "kernel.kexec_": "KEXEC_CORE",
    "kernel.modules_disabled": "MODULES",
    "kernel.sysrq": "MAGIC_SYSRQ",
    "kernel.hung_task_": "DETECT_HUNG_TASK",
    "kernel.softlockup_": "SOFTLOCKUP_DETECTOR",
    "kernel.hardlockup_": "HARDLOCKUP_DETECTOR",
    "kernel.numa_balancing": "NUMA_BALANCING",
    "kernel.sched_autogroup_enabled": "SCHED_AUTOGROUP",
    "kernel.ftrace_": "FUNCTION_TRACER",
}
# Other explanations.
EXPLANATIONS = {
    "net.ipv6.": "the module ipv6 adds it, unless the kernel was started with ipv6.disable=1",
    "user.max_": "it requires Linux 4.9 or later",
    "kernel.unprivileged_userns_clone": "it requires Debian's patch; other kernels have user.max_user_namespaces",
    "kernel.apparmor_": "it requires AppArmor, and for most of these names a kernel of Ubuntu",
    "kernel.unprivileged_userns_apparmor_": "it requires a kernel with AppArmor",
    "kernel.yama.": "it requires a kernel with the security module Yama",
    **{beginning: f"the module {module} adds it" for beginning, module in MODULES.items()},
    **{beginning: f"it requires a kernel built with CONFIG_{option}" for beginning, option in OPTIONS.items()},
}
ROOT = "/proc/sys"
SWAP_SEPARATORS = str.maketrans("./", "/.")
MAX_ROWS = 20_000  # rows that are listed: a node with a thousand interfaces has some hundred for each
MAX_NAME_CHARS = 250  # characters of a name
NAME_PART = re.compile(r"(?!/{1,2}$)[^\s*?=\[\]\\]+")  # One or two slashes would be `.` and `..`.
SECRETS = r"net\.ipv6\.conf\..*\.stable_secret|net\.ipv4\.tcp_fastopen_key"
SECRET_GROUPS = ("net.ipv6.conf.", "net.ipv4.tcp_fastopen_key")  # their beginnings
# Parameters that change by themselves, or that belong to this boot only.
UNSTABLE = (
    r"fs\.(file-nr|inode-(nr|state)|dentry-state|aio-nr|quota\..*)|kernel\.(ns_last_pid|pty\.nr|perf_event_max_sample_rate)"
    r"|kernel\.random\.(entropy_avail|uuid|boot_id)|net\.netfilter\.nf_conntrack_count|vm\.stat_refresh"
)


def parse_key(text: str) -> str:
    """Parse a name such as `net.ipv4.ip_forward` or `net/ipv4/ip_forward`.

    As with sysctl(8), the first separator decides which character separates; the other is literal.
    `net/ipv4/conf/eth0.100/forwarding` is `net.ipv4.conf.eth0/100.forwarding`.
    """
    slashed = re.match(r"[^./]*/", text)
    name = text.translate(SWAP_SEPARATORS) if slashed else text
    parts = name.split(".")
    if (
        len(parts) == 1
        or not all(map(NAME_PART.fullmatch, parts))
        or len(text) > MAX_NAME_CHARS
        or not text.isprintable()
    ):
        raise ValueError(
            f"`{text[:80]}` is not the name of a kernel parameter; expected a name such as `net.ipv4.ip_forward`"
        )
    return name


def make_path(key: str) -> str:
    """Return the file of a parameter."""
    return f"{ROOT}/{key.translate(SWAP_SEPARATORS)}"


def make_name(path: str) -> str:
    """Return the parameter of a file."""
    return path[len(ROOT) + 1 :].translate(SWAP_SEPARATORS)


def refuse_secret(key: str) -> Optional[Unknown]:
    """Return why a parameter is never read if it holds a secret; else None."""
    secret = key.startswith(SECRET_GROUPS) and re.fullmatch(SECRETS, key)
    return Unknown("refused", f"{key} holds a secret") if secret else None


def is_stable(name: str) -> bool:
    """Return whether a parameter may be listed: it holds no secret and does not change by itself."""
    try:
        return parse_key(name) == name and not re.fullmatch(f"{SECRETS}|{UNSTABLE}", name)
    except ValueError:
        return False
