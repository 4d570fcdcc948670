"""Evidence for build options of the kernel.

The names are from Makefiles and sources of Linux 5.10 to 7.3, and were compared with kernels of those versions and
their configurations.
"""

from __future__ import annotations

from nodespec.checks import _kernel_version
from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Mapping, Tuple

FILESYSTEMS, CGROUPS, CONTROLLERS = "/proc/filesystems", "/proc/cgroups", "/sys/fs/cgroup/cgroup.controllers"
HYBRID = "/sys/fs/cgroup/unified/cgroup.controllers"


class Sign(NamedTuple):
    """Evidence for an option that is not a module.

    Each of `paths` shows that the option is on: `PATH:WORD` is a word in the file, `~` the directory of the observing
    process in /proc. With `all_of_it`, the option is off if none is present. `symbol` is a function that only this
    option adds. It is never inlined, because it is exported or its address is taken.
    """

    symbol: str = ""
    paths: Tuple[str, ...] = ()
    all_of_it: bool = False


IMPLIED = {
    "NETFILTER_ADVANCED": (
        "NETFILTER_XT_MATCH_COMMENT",
        "NETFILTER_XT_MATCH_MULTIPORT",
        "NETFILTER_XT_MATCH_STATISTIC",
        "NETFILTER_XT_MATCH_BPF",
        "NETFILTER_XT_MATCH_IPVS",
        "NETFILTER_XT_TARGET_CHECKSUM",
    ),
    "NAMESPACES": ("NET_NS", "PID_NS", "IPC_NS", "UTS_NS", "USER_NS"),
}

ALIASES = {
    "IP_NF_TARGET_MASQUERADE": ("IP_NF_NAT", "NETFILTER_XT_TARGET_MASQUERADE"),
    "IP6_NF_TARGET_MASQUERADE": ("IP6_NF_NAT", "NETFILTER_XT_TARGET_MASQUERADE"),
    "IP_NF_TARGET_REDIRECT": ("IP_NF_NAT", "NETFILTER_XT_TARGET_REDIRECT"),
}


def _make_controller_sign(name: str, symbol: str) -> Sign:
    """Return the evidence for a controller, which either list may omit.

    /proc/cgroups omits controllers without version 1, and cgroup.controllers those bound to version 1.
    """
    return Sign(symbol, (f"{CONTROLLERS}:{name}", f"{HYBRID}:{name}", f"{CGROUPS}:{name}"))


def _make_exact_sign(*paths: str) -> Sign:
    return Sign("", paths, all_of_it=True)


SIGNS: Mapping[str, Sign] = {
    "NET_NS": _make_exact_sign("~/ns/net"),
    "PID_NS": _make_exact_sign("~/ns/pid"),
    "IPC_NS": _make_exact_sign("~/ns/ipc"),
    "UTS_NS": _make_exact_sign("~/ns/uts"),
    "USER_NS": _make_exact_sign("~/ns/user"),
    "TIME_NS": _make_exact_sign("~/ns/time"),
    "CGROUPS": _make_exact_sign("~/ns/cgroup", CGROUPS),
    "CGROUP_SCHED": _make_controller_sign("cpu", "cpu_cgroup_css_alloc"),
    "CGROUP_CPUACCT": _make_controller_sign("cpuacct", "cpuacct_css_alloc"),
    "CGROUP_DEVICE": _make_controller_sign("devices", "devcgroup_css_alloc"),
    "CGROUP_FREEZER": _make_controller_sign("freezer", "freezer_css_alloc"),
    "CGROUP_PIDS": _make_controller_sign("pids", "pids_css_alloc"),
    "CGROUP_RDMA": _make_controller_sign("rdma", "rdmacg_css_alloc"),
    "CGROUP_MISC": _make_controller_sign("misc", "misc_cg_alloc"),
    "CGROUP_PERF": _make_controller_sign("perf_event", "perf_cgroup_css_alloc"),
    "CGROUP_HUGETLB": _make_controller_sign("hugetlb", "hugetlb_cgroup_css_alloc"),
    "CGROUP_NET_PRIO": _make_controller_sign("net_prio", "net_prio_attach"),
    "CGROUP_NET_CLASSID": _make_controller_sign("net_cls", "cgrp_attach"),
    "CPUSETS": _make_controller_sign("cpuset", "cpuset_css_alloc"),
    "CPUSETS_V1": Sign("cpuset1_update_task_spread_flags"),
    "MEMCG": _make_controller_sign("memory", "mem_cgroup_css_alloc"),
    "MEMCG_V1": Sign("memcg1_stat_format"),
    "BLK_CGROUP": Sign("blkcg_css_alloc", (f"{CONTROLLERS}:io", f"{HYBRID}:io", f"{CGROUPS}:blkio")),
    "BLK_DEV_THROTTLING": Sign("throtl_pd_alloc"),
    "CGROUP_BPF": Sign("__cgroup_bpf_run_filter_skb"),
    "CFS_BANDWIDTH": _make_exact_sign("/proc/sys/kernel/sched_cfs_bandwidth_slice_us"),
    "FAIR_GROUP_SCHED": Sign("sched_group_set_shares", ("/proc/sys/kernel/sched_cfs_bandwidth_slice_us",)),
    "RT_GROUP_SCHED": Sign("cpu_rt_period_write_uint"),
    "SECCOMP": _make_exact_sign("~/status:Seccomp:"),
    "SECCOMP_FILTER": Sign("get_seccomp_filter", ("/proc/sys/kernel/seccomp/actions_avail",)),
    "SECURITY_SELINUX": Sign("selinux_inode_permission"),
    "SECURITY_APPARMOR": Sign("apparmor_capable"),
    "KEYS": _make_exact_sign("/proc/keys", "/proc/key-users", "/proc/sys/kernel/keys"),
    "POSIX_MQUEUE": _make_exact_sign(f"{FILESYSTEMS}:mqueue"),
    "HUGETLBFS": _make_exact_sign(f"{FILESYSTEMS}:hugetlbfs"),
    "BPF_SYSCALL": _make_exact_sign(f"{FILESYSTEMS}:bpf"),
    "BPF_JIT": Sign("bpf_jit_binary_alloc"),
    "BPF_LSM": Sign("bpf_lsm_file_open"),
    "DEBUG_INFO_BTF": _make_exact_sign("/sys/kernel/btf/vmlinux"),
    "PSI": Sign("psi_memstall_enter", ("/proc/pressure",)),
    "XFRM": Sign("xfrm_lookup", ("/proc/sys/net/core/xfrm_aevent_etime",)),
    "INET": Sign("tcp_sendmsg", ("/proc/sys/net/ipv4/ip_forward",)),
    "UNIX": Sign("unix_stream_connect", ("/proc/sys/net/unix",)),
    "SMP": _make_exact_sign("/proc/sys/kernel/version:SMP"),
    "PROC_FS": _make_exact_sign("~/stat"),
    "CHECKPOINT_RESTORE": _make_exact_sign("/proc/sys/kernel/ns_last_pid", "~/timers"),
    "EPOLL": _make_exact_sign("/proc/sys/fs/epoll"),
    "INOTIFY_USER": _make_exact_sign("/proc/sys/fs/inotify"),
    "EVENTFD": Sign("eventfd_ctx_fdget"),
    "SIGNALFD": Sign("signalfd_release"),
    "TIMERFD": Sign("timerfd_release"),
    "FHANDLE": Sign("vfs_dentry_acceptable"),
    "USERFAULTFD": Sign("userfaultfd_ioctl"),
    "IO_URING": Sign("io_uring_setup"),
    "AUDIT": Sign("audit_log_start"),
    "MODULES": _make_exact_sign(_kernel_version.PROC_MODULES),
    "IKCONFIG_PROC": _make_exact_sign("/proc/config.gz"),
    "X86_VSYSCALL_EMULATION": Sign("map_vsyscall"),
}

# Parts of code that may be a module: the owner, and a function that is kept after the module was initialized.
WITHIN = {
    "EXT4_FS_POSIX_ACL": ("EXT4_FS", "ext4_get_acl"),
    "EXT4_FS_SECURITY": ("EXT4_FS", "ext4_init_security"),
    "BTRFS_FS_POSIX_ACL": ("BTRFS_FS", "btrfs_get_acl"),
    "BRIDGE_VLAN_FILTERING": ("BRIDGE", "br_vlan_filter_toggle"),
    "IP_VS_NFCT": ("IP_VS", "ip_vs_update_conntrack"),
    "IP_VS_PROTO_TCP": ("IP_VS", "ip_vs_tcp_conn_listen"),
    "IP_VS_PROTO_UDP": ("IP_VS", "udp_app_conn_bind"),
    "NF_TABLES_INET": ("NF_TABLES", "nft_do_chain_inet"),
    "NF_TABLES_IPV4": ("NF_TABLES", "nft_do_chain_ipv4"),
    "NF_TABLES_IPV6": ("NF_TABLES", "nft_do_chain_ipv6"),
}

# Former modules that later versions build in, so no list of modules has them, and the path that shows them.
UNLISTED = {"ipv6": "/proc/sys/net/ipv6"}  # from Linux 7.2 on

# Modules of the same option: name of the second, name of the first.
SAME_OPTION = {"nft_chain_nat": "nft_nat"}

# obj-$(CONFIG_OPTION) += MODULE.o, and a function in it.
MODULES = {
    name: (module, symbol)
    for name, module, symbol in map(
        str.split,
        """\
BLK_DEV_DM dm_mod dm_register_target
BRIDGE bridge br_dev_xmit
BRIDGE_NETFILTER br_netfilter br_nf_pre_routing
BTRFS_FS btrfs btrfs_getattr
CRYPTO crypto crypto_alg_mod_lookup
CRYPTO_AEAD2 aead crypto_register_aead
CRYPTO_CCM ccm crypto_ccm_create
CRYPTO_GCM gcm crypto_gcm_create
CRYPTO_GHASH ghash_generic ghash_exit_tfm
CRYPTO_SEQIV seqiv seqiv_aead_encrypt
DUMMY dummy dummy_xmit
EXT2_FS ext2 ext2_lookup
EXT4_FS ext4 ext4_lookup
FUSE_FS fuse fuse_conn_put
GENEVE geneve geneve_xmit
INET_DIAG inet_diag inet_diag_register
INET_ESP esp4 esp4_rcv_cb
IP6_NF_FILTER ip6table_filter ip6table_filter_table_init
IP6_NF_MANGLE ip6table_mangle ip6table_mangle_hook
IP6_NF_NAT ip6table_nat ip6table_nat_table_init
IP6_NF_RAW ip6table_raw ip6table_raw_table_init
IPV6 ipv6 inet6_create
IPVLAN ipvlan ipvlan_start_xmit
IP_NF_FILTER iptable_filter iptable_filter_table_init
IP_NF_MANGLE iptable_mangle iptable_mangle_hook
IP_NF_NAT iptable_nat iptable_nat_table_init
IP_NF_RAW iptable_raw iptable_raw_table_init
IP_NF_TARGET_REJECT ipt_REJECT reject_tg
IP_SCTP sctp sctp_sendmsg
IP_SET ip_set ip_set_type_register
IP_SET_HASH_IP ip_set_hash_ip hash_ip_create
IP_SET_HASH_NET ip_set_hash_net hash_net_create
IP_VS ip_vs register_ip_vs_scheduler
IP_VS_LC ip_vs_lc ip_vs_lc_schedule
IP_VS_RR ip_vs_rr ip_vs_rr_schedule
IP_VS_SH ip_vs_sh ip_vs_sh_schedule
IP_VS_WRR ip_vs_wrr ip_vs_wrr_schedule
MACVLAN macvlan macvlan_common_setup
NETFILTER_XTABLES x_tables xt_register_target
NETFILTER_XT_MARK xt_mark mark_mt
NETFILTER_XT_MATCH_ADDRTYPE xt_addrtype addrtype_mt_v1
NETFILTER_XT_MATCH_BPF xt_bpf bpf_mt
NETFILTER_XT_MATCH_COMMENT xt_comment comment_mt
NETFILTER_XT_MATCH_CONNTRACK xt_conntrack conntrack_mt_v3
NETFILTER_XT_MATCH_IPVS xt_ipvs ipvs_mt
NETFILTER_XT_MATCH_LIMIT xt_limit limit_mt
NETFILTER_XT_MATCH_MULTIPORT xt_multiport multiport_mt
NETFILTER_XT_MATCH_RECENT xt_recent recent_mt
NETFILTER_XT_MATCH_STATISTIC xt_statistic statistic_mt
NETFILTER_XT_NAT xt_nat xt_snat_target_v2
NETFILTER_XT_SET xt_set set_match_v4
NETFILTER_XT_TARGET_CHECKSUM xt_CHECKSUM checksum_tg
NETFILTER_XT_TARGET_MASQUERADE xt_MASQUERADE masquerade_tg
NETFILTER_XT_TARGET_REDIRECT xt_REDIRECT redirect_tg4
NETFILTER_XT_TARGET_TCPMSS xt_TCPMSS tcpmss_tg4
NETLINK_DIAG netlink_diag netlink_diag_dump
NET_CLS_CGROUP cls_cgroup cls_cgroup_classify
NFT_COMPAT nft_compat nft_target_validate
NFT_CT nft_ct nft_ct_get_init
NFT_FIB nft_fib nft_fib_validate
NFT_FIB_IPV4 nft_fib_ipv4 nft_fib4_eval
NFT_FIB_IPV6 nft_fib_ipv6 nft_fib6_eval
NFT_HASH nft_hash nft_jhash_init
NFT_LOG nft_log nft_log_eval
NFT_MASQ nft_masq nft_masq_validate
NFT_NAT nft_nat nft_nat_eval
NFT_NUMGEN nft_numgen nft_ng_random_eval
NFT_REDIR nft_redir nft_redir_validate
NFT_REJECT nft_reject nft_reject_dump
NFT_REJECT_IPV4 nft_reject_ipv4 nft_reject_ipv4_eval
NF_CONNTRACK nf_conntrack nf_conntrack_alloc
NF_CONNTRACK_FTP nf_conntrack_ftp nf_ct_ftp_from_nlattr
NF_CONNTRACK_TFTP nf_conntrack_tftp nf_conntrack_tftp_init
NF_CT_NETLINK nf_conntrack_netlink ctnetlink_get_conntrack
NF_NAT nf_nat nf_nat_setup_info
NF_NAT_FTP nf_nat_ftp nf_nat_ftp
NF_NAT_TFTP nf_nat_tftp nf_nat_tftp_init
NF_TABLES nf_tables nft_register_chain_type
OVERLAY_FS overlay ovl_lookup
PACKET_DIAG af_packet_diag packet_diag_handler_dump
SQUASHFS squashfs squashfs_lookup
TLS tls tls_sw_sendmsg
TUN tun tun_chr_ioctl
UNIX_DIAG unix_diag unix_diag_handler_dump
VETH veth veth_xmit
VLAN_8021Q 8021q vlan_dev_hard_start_xmit
VXLAN vxlan vxlan_xmit
WIREGUARD wireguard wg_xmit
XFRM_ALGO xfrm_algo xfrm_aalg_get_byid
XFRM_USER xfrm_user xfrm_netlink_rcv
XFS_FS xfs xfs_vn_lookup
""".splitlines(),
    )
}
