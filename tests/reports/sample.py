"""Reports to render: one of every outcome and disposition, and what people will meet.

A finding's id in `every` is its outcome and disposition, so that a test can ask any format for it.
"""

from __future__ import annotations

from typing import Tuple

from nodespec.model.json_types import Json
from nodespec.model.observation import Evidence
from nodespec.model.plan import Spec
from nodespec.model.report import DISPOSITIONS, OUTCOMES, Cause, Finding, Host, Observed, Param, Part, Report, Waiver

HOSTILE = (
    '<script>alert("1")</script><img src=x onerror=alert(1)>',
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b31m",
    "".join(map(chr, range(0x20))) + "\x7f\x85",
    "\u202egnp.exe \u2066isolated\u2069 \u200bzero\u200f \u2028line\u2029",
    "lone \ud800 \udcff \ufffe \uffff",
    "]]> <!-- --> &lt; &amp; &#x1b; %0A::error::",
    "`code` ``two`` ```fence``` **bold** _em_ [link](javascript:alert(1)) ![img](x) | pipe | # h\n# heading\n- item",
    "</details></table></pre> \\ \\| ~~struck~~ www.example.org https://example.org/<b> @team #12 :tada: $x$",
)


def observed(outcome: str, text: str = "0") -> Observed:
    """What may have been seen where the outcome is this."""
    if outcome == "unknown":
        return Observed("unknown", "/proc/config.gz: permission denied", reason="no permission", look="run as root")
    if outcome == "deferred":
        return Observed("deferred", "only a running machine can tell", reason="deferred")
    return Observed("value", text, value=text)


def finding(
    outcome: str, disposition: str = "enforced", *, name: str = "", words: str = "", waiver: int = -1
) -> Finding:
    """A finding with that outcome and disposition; `words` replaces whatever a host or an author says."""
    place = name or f"{outcome}.{disposition}"
    seen = observed(outcome, words or ("1" if outcome == "pass" else "0"))
    evidence = () if seen.reason and not words else (Evidence(words or "/proc/sys/net/ipv4/ip_forward", 1),)
    return Finding(
        id=place,
        level="recommended" if disposition == "advisory" else "required",
        outcome=outcome,
        disposition=disposition,
        sentence=words or _sentence(outcome, seen.text),
        why=words or "Pods reach other nodes through this one",
        fix=words or ("sysctl -w net.ipv4.ip_forward=1" if outcome == "fail" else ""),
        see=words or "https://kubernetes.io/docs/setup/",
        source=(words or "kubernetes/1.35.yaml:12:5",),
        parts=(Part(place, words or "1", seen, evidence, outcome),),
        waiver=waiver,
    )


def _sentence(outcome: str, text: str) -> str:
    return {
        "unknown": f"wanted 1, not known: {text}",
        "deferred": text,
        "not-applicable": "applies only if params.proxy_mode is ipvs; found nftables",
        "skipped": "not selected on the command line",
    }.get(outcome, f"wanted 1, found {text}")


WAIVERS = (
    Waiver(("*.waived",), ("node-*",), "replaced in May", "ann@example.org", "2026-12-31", "w.yaml:2:3", "valid", 41),
    Waiver(("fail.enforced",), (), "was to be mended by summer", "bob", "2026-06-30", "w.yaml:8:3", "expired", -144),
    Waiver(("kernel.*",), ("db-*",), "appliance kernel", "eve", "2027-01-31", "w.yaml:14:3", "elsewhere", 72),
    Waiver(("cgroup.version",), (), "misspelt", "bob", "2027-01-31", "w.yaml:20:3", "unmatched", 72),
    Waiver(("pass.enforced",), (), "mended since", "ann", "2027-01-31", "w.yaml:26:3", "unneeded", 72),
    Waiver(("fail.enforced",), (), "the clock is wrong", "ann", "2027-01-31", "w.yaml:32:3", "void", 72),
)
SPEC = Spec(
    name="kubernetes/1.35",
    title="Kubernetes 1.35 node",
    digest="5f2c" * 16,
    sources=("kubernetes/1.35.yaml", "container-host.yaml"),
    extends=("container-host",),
    drops=("kernel.config.AUFS_FS",),
)
SYSSPEC = Spec(
    name="gke.yaml",
    title="",
    digest="0a1b" * 16,
    sources=("gke.yaml",),
    notes=("packageSpecs: docker: `description` is printed by nothing", "kernelSpec: no version of 3.x can be met"),
)
PARAMS = (
    Param("stage", "joining", "default", "what is right before join is wrong after"),
    Param("proxy_mode", "nftables", "set", "how kube-proxy programs Services"),
)
HOST = Host(
    name="node-17",
    id="b1946ac92492d2347c6235b4d2611184",
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="6.1.0-38-amd64",
    arch="x86_64",
    user="root",
)


def report(*findings: Finding, conclusion: str = "nonconformant", causes: Tuple[Cause, ...] = ()) -> Report:
    """A report of node-17 with those findings."""
    return Report(
        conclusion=conclusion,
        context="running",
        door="live",
        time="2026-11-21T18:40:07Z",
        tool="nodespec 0.1.0",
        host=HOST,
        specs=(SPEC,),
        params=PARAMS,
        waivers=(),
        findings=findings,
        causes=causes,
    )


def every() -> Report:
    """Every outcome with every disposition, waivers of every state, two specs, a cause for the unknown ones."""
    findings = tuple(
        finding(outcome, disposition, waiver=0 if disposition == "waived" and outcome in {"fail", "unknown"} else -1)
        for outcome in OUTCOMES
        for disposition in DISPOSITIONS
    )
    unknown = tuple(f.id for f in findings if f.outcome == "unknown")
    causes = (Cause("unknown", "/proc/config.gz: permission denied", "run as root", unknown),)
    return report(*findings, causes=causes)._replace(
        waivers=WAIVERS, specs=(SPEC, SYSSPEC), notices=("seen from inside a container (docker)",), asked=18
    )


def joining() -> Report:
    """What somebody meets before the first join: three failures, one cause for what is unknown, warnings, a waiver."""
    source = ("kubernetes/1.35.yaml:31:5",)
    failed = (
        Finding(
            "cgroups.version",
            "required",
            "fail",
            "enforced",
            "wanted 2, found hybrid",
            "the kubelet refuses to start on cgroup v1 by default since 1.35",
            "boot with systemd.unified_cgroup_hierarchy=1",
            "https://kubernetes.io/docs/concepts/architecture/cgroups/",
            source,
            (
                Part(
                    "cgroups.version",
                    "2",
                    Observed("value", "hybrid", value="hybrid"),
                    (
                        Evidence("/proc/self/mountinfo", 31),
                        Evidence("/proc/self/mountinfo", 32),
                    ),
                    "fail",
                ),
            ),
        ),
        Finding(
            "sysctl.net.ipv4.ip_forward",
            "required",
            "fail",
            "enforced",
            "wanted 1, found 0",
            "without it no packet from a Pod leaves the node, and none from another node reaches a Pod",
            "echo net.ipv4.ip_forward=1 > /etc/sysctl.d/90-kubernetes.conf && sysctl --system",
            "https://kubernetes.io/docs/setup/production-environment/container-runtimes/",
            source,
            (
                Part(
                    "sysctl.net.ipv4.ip_forward",
                    "1",
                    Observed("value", "0", value="0"),
                    (Evidence("/proc/sys/net/ipv4/ip_forward", 1),),
                    "fail",
                ),
            ),
        ),
        Finding(
            "container-runtime",
            "required",
            "fail",
            "enforced",
            "none of: runtime.containerd.version wanted >=2.1.5, found 1.6.20~ds1; "
            "runtime.crio.version wanted >=1.35 <1.36, found no such runtime",
            "the kubelet needs one CRI runtime",
            "",
            "https://kubernetes.io/docs/setup/production-environment/container-runtimes/",
            ("kubernetes/1.35.yaml:80:5",),
            (
                Part(
                    "runtime.containerd.version",
                    ">=2.1.5",
                    Observed("value", "1.6.20~ds1", value="1.6.20~ds1"),
                    (Evidence("containerd --version"),),
                    "fail",
                ),
                Part(
                    "runtime.crio.version",
                    ">=1.35 <1.36",
                    Observed("absent", "no such runtime"),
                    (Evidence("/usr/sbin:/usr/bin:/sbin:/bin", 0, inferred=True),),
                    "fail",
                ),
            ),
        ),
    )
    modules = tuple(
        Finding(
            f"modules.{name}",
            "required",
            "unknown",
            "enforced",
            "wanted usable, not known: /lib/modules/6.18.44 does not exist",
            "kube-proxy and CNI plugins need it",
            "",
            "",
            ("container-host.yaml:9:5",),
            (
                Part(
                    f"modules.{name}",
                    "usable",
                    Observed(
                        "unknown",
                        "/lib/modules/6.18.44 does not exist",
                        reason="not found",
                        look="install the kernel's modules, or build them in",
                    ),
                    (),
                    "unknown",
                ),
            ),
        )
        for name in ("br_netfilter", "overlay", "nf_conntrack")
    )
    warned = tuple(
        Finding(f"recommended.{place}", "recommended", "fail", "advisory", sentence, why, fix, "", source, ())
        for place, sentence, why, fix in (
            (
                "kernel.version",
                "wanted >=6.3, found 6.1.176",
                "swap on nodes needs tmpfs noswap",
                "boot a newer kernel",
            ),
            (
                "sysctl.vm.overcommit_memory",
                "wanted 1, found 0",
                "the kubelet sets it",
                "sysctl -w vm.overcommit_memory=1",
            ),
            ("kernel.config.CGROUP_HUGETLB", "wanted enabled, found not set", "huge page limits", ""),
            (
                "commands.ethtool",
                "wanted present, found no such program",
                "kubeadm warns without it",
                "install ethtool",
            ),
        )
    )
    waived = finding("fail", "waived", name="swap.total", waiver=0)._replace(
        sentence="wanted 0, found 2 GiB", why="the kubelet does not start with swap on", fix="swapoff -a", see=""
    )
    passed = tuple(finding("pass", name=f"kernel.config.OPTION_{n}") for n in range(40))
    causes = (
        Cause(
            "unknown",
            "/lib/modules/6.18.44 does not exist",
            "install the kernel's modules, or build them in",
            tuple(f.id for f in modules),
        ),
    )
    waiver = Waiver(
        ("swap.*",), ("node-1?",), "disks are replaced in December", "ann", "2026-12-31", "w.yaml:2:3", "valid", 41
    )
    return report(*failed, *modules, *warned, waived, *passed, causes=causes)._replace(waivers=(waiver,))


def fit() -> Report:
    """All pass."""
    return report(
        *(finding("pass", name=name) for name in ("kernel.version", "cgroups.version", "memory.total")),
        conclusion="conformant",
    )


def at_rest() -> Report:
    """An image: conformant at rest, two things that only a running machine can tell."""
    findings = (
        finding("pass", name="packages.containerd.version"),
        finding("deferred", name="memory.total"),
        finding("deferred", name="ports.6443"),
        finding("not-applicable", name="nftables-proxy.kernel.version"),
    )
    host = HOST._replace(name="debian-12.raw", id="", kernel="", user="uid 1000")
    return report(*findings, conclusion="conformant")._replace(context="at rest", door="image debian-12.raw", host=host)


def hidden() -> Report:
    """Not root and in a container: much is unknown, for two reasons and one that is alone."""
    configs = tuple(finding("unknown", name=f"kernel.config.OPTION_{n}") for n in range(31))
    sockets = tuple(finding("unknown", name=f"runtime.containerd.{n}") for n in ("version", "snapshotter"))
    alone = finding("unknown", name="cgroups.delegated")
    causes = (
        Cause("unknown", "/proc/config.gz: permission denied", "run as root", tuple(f.id for f in configs)),
        Cause(
            "unknown", "/run/containerd/containerd.sock: permission denied", "run as root", tuple(f.id for f in sockets)
        ),
    )
    host = HOST._replace(user="uid 1000", container="docker")
    return report(*configs, *sockets, alone, finding("pass"), conclusion="indeterminate", causes=causes)._replace(
        host=host, notices=("seen from inside a container (docker): what it shows may not be the node's",)
    )


def partial() -> Report:
    """Of five requirements two were left out on the command line."""
    findings = (
        finding("pass", name="kernel.version"),
        finding("pass", name="kernel.arch"),
        finding("fail", name="kernel.lockdown"),
        finding("skipped", "skipped", name="memory.total"),
        finding("skipped", "skipped", name="cpu.count"),
    )
    return report(*findings)._replace(asked=3)


def hostile() -> Report:
    """Whatever a host or an author can say is hostile, in every string there is."""
    words = " ".join(HOSTILE)
    base = every()
    findings = tuple(
        finding(f.outcome, f.disposition, name=f"{f.id} {words}", words=words, waiver=f.waiver) for f in base.findings
    )
    return Report(
        conclusion="nonconformant",
        context="running",
        door=words,
        time=words,
        tool=words,
        host=Host(*(words for _ in Host._fields)),
        specs=(Spec(words, words, words, (words,), (words,), (words,), (words,)),),
        params=(Param(words, words, "set", words),),
        waivers=tuple(Waiver((words,), (words,), words, words, words, words, w.state, w.days) for w in base.waivers),
        findings=findings,
        causes=(Cause("unknown", words, words, tuple(f.id for f in findings if f.outcome == "unknown")),),
        notices=(words,),
    )


def trio() -> Report:
    """Three failures and nothing else to tell, as they must fit a screen."""
    version, forward = joining().findings[:2]
    seen = Observed("value", "970Mi", value=970 << 20)
    memory = finding("fail", name="memory.total")._replace(
        parts=(Part("memory.total", ">=2Gi", seen, (Evidence("/proc/meminfo", 1),), "fail"),),
        sentence="wanted >=2Gi, found 970Mi",
        why="below it kubeadm refuses a control plane",
        fix="give the machine 2Gi of memory",
    )
    three = (version, forward._replace(fix="sysctl -w net.ipv4.ip_forward=1"), memory)
    found = report(*three, *(finding("pass", name=f"kernel.config.OPTION_{n}") for n in range(40)))
    return found._replace(specs=(SPEC._replace(drops=()),))


def lacking() -> Report:
    """Two failures with one cause, and a rule whose rows its sentence does not name."""
    say = "the module br_netfilter, which would bring it, is not loaded"
    names = ("sysctl.net.bridge.bridge-nf-call-iptables", "sysctl.net.bridge.bridge-nf-call-ip6tables")
    seen = Observed("absent", f"no such sysctl: {say}")
    bridges = tuple(
        finding("fail", name=name)._replace(
            sentence=f"wanted 1, found no such sysctl: {say}",
            fix="modprobe br_netfilter",
            parts=(Part(name, "1", seen, (Evidence("/proc/sys/net"),), "fail"),),
        )
        for name in names
    )
    rows = tuple(
        Part(
            f"network.interfaces.eth{n}.mtu",
            ">=1450",
            Observed("value", mtu, value=int(mtu)),
            (Evidence(f"/sys/class/net/eth{n}/mtu", 1),),
            outcome,
        )
        for n, (mtu, outcome) in enumerate((("1500", "pass"), ("1400", "fail"), ("1280", "fail")))
    )
    rule = finding("fail", name="mtu")._replace(sentence="every row: 2 fail, 1 pass", fix="", parts=rows)
    return report(*bridges, rule, causes=(Cause("fail", say, "", names),))


def several() -> Tuple[Report, ...]:
    """Three hosts: fit, not fit, and not to be told."""
    return (
        fit()._replace(host=HOST._replace(name="node-1")),
        partial(),
        hidden()._replace(host=HOST._replace(name="node-18", user="uid 1000", container="docker")),
    )


def fleet() -> Tuple[Report, ...]:
    """A dozen hosts by two specs: some alike that are to be apart, some apart that are to be alike."""
    ours = Spec("ours", "Our nodes", "7e57" * 16, ("ours.yaml",))
    slow = finding("fail", name="cpu.count")._replace(source=("ours.yaml:3:9",), sentence="wanted >=4, found 2")
    fast = finding("pass", name="cpu.count")._replace(source=("ours.yaml:3:9",))
    found = []
    for number in range(12):
        base, bad = (fit(), joining(), hidden())[number % 3], number % 4 == 1
        host = base.host._replace(name=f"node-{number:02}", id=f"{number % 10:x}" * 32)
        runtime: Json = {"is": ["there"], "version": ["1.7.24" if number < 9 else "2.1.5"]}
        found.append(
            base._replace(
                conclusion="nonconformant" if bad else base.conclusion,
                host=host._replace(kernel="6.1.0-38-amd64" if number % 4 else "6.12.9-amd64"),
                door=f"facts fleet/{number:02}.json.gz",
                specs=(SPEC, ours),
                findings=(*base.findings, slow if bad else fast),
                facts={"runtime": {"from": "/var/lib/dpkg/status", "asked": {"containerd": runtime}}},
            )
        )
    return tuple(found)
