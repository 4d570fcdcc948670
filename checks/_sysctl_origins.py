"""Origin of kernel parameters that not every kernel has, by prefix of the name."""

from __future__ import annotations

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
    "kernel.io_uring_": "IO_URING, from 6.6 on,",
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
    "net.ipv6.": "the module ipv6 brings it, unless the kernel was started with ipv6.disable=1",
    "user.max_": "a kernel from 4.9 on has it",
    "kernel.unprivileged_userns_clone": "only Debian's patch has it: other kernels have user.max_user_namespaces",
    "kernel.apparmor_": "only a kernel with AppArmor has it, and most of these only Ubuntu's",
    "kernel.unprivileged_userns_apparmor_": "only a kernel with AppArmor has it",
    "kernel.yama.": "only a kernel with the security module Yama has it",
    **{beginning: f"the module {module} brings it" for beginning, module in MODULES.items()},
    **{beginning: f"a kernel built with CONFIG_{option} has it" for beginning, option in OPTIONS.items()},
}
