"""What a spec means: the language, row by row, through the loader and the judge."""

from __future__ import annotations

import os
from typing import List, Mapping, Optional, Tuple

import pytest
from pretended import ABSENT, Said, Shelf, bound, found, planned

from nodespec.author.spec import library
from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError
from nodespec.model.plan import Plan

Place = Tuple[str, ...]


def outcome(place: Place, expects: str, seen: Said, others: Mapping[str, Said] = {}) -> str:
    """What comes of one expectation, written as YAML, of one fact."""
    body = expects
    for name in reversed(place):
        body = f"{{{name!r}: {body}}}"
    (finding,) = found(planned(a=f"require: {body}"), {**others, ".".join(place): seen}).values()
    return finding.outcome


def ids(plan: Plan) -> List[str]:
    return [requirement.id for requirement in plan.requirements]


VERSION, RELEASE, ID = ("kernel", "version"), ("kernel", "release"), ("os", "id")
NAME = ("os", "pretty_name")
OS_VERSION, OPTION, HZ = ("os", "version"), ("kernel", "config", "NET_NS"), ("kernel", "config", "HZ")
MODULE, SYSCTL, ROW = ("modules", "overlay"), ("sysctl", "vm.swappiness"), ("packages", "runc")
MEMORY, CPUS, RUNNING = ("memory", "total"), ("cpu", "count"), ("kubelet", "running")
MODE, CONTROLLERS, CGROUPS = ("files", "/etc/x", "mode"), ("cgroups", "controllers"), ("cgroups", "version")
CMDLINE = ("kernel", "cmdline", "isolcpus")
DEB, FLAGS, LOCKDOWN = ("packages", "runc", "deb"), ("cpu", "flags"), ("kernel", "lockdown")


def of(*members: str) -> frozenset[str]:
    return frozenset(members)


MEANING: List[Tuple[Place, str, List[Said], List[Said]]] = [
    # place, expectation, what meets it, what does not
    #
    # scalars are their source text, which the fact's type reads
    (OS_VERSION, "1.30", ["1.30", "1.30.4", "1.30.0"], ["1.3", "1.31", "1.29.9"]),
    (OS_VERSION, "1.3", ["1.3", "1.3.9"], ["1.30"]),
    (OS_VERSION, "24", ["24", "24.04"], ["25", "2.4"]),
    (OS_VERSION, "08", ["8", "8.10"], ["80"]),
    (ID, "no", ["no"], ["false", "False", "yes"]),
    (ID, "1e3", ["1e3"], ["1000", "1000.0"]),
    (ID, "0x10", ["0x10"], ["16"]),
    (ID, "2001-01-01", ["2001-01-01"], ["2001-1-1"]),
    (NAME, "12:30:45", ["12:30:45"], ["45045"]),
    (ID, "1_000", ["1_000"], ["1000"]),
    (NAME, '"~"', ["~"], [""]),
    (NAME, "'null'", ["null"], [""]),
    (NAME, "Ubuntu  Core", ["Ubuntu Core"], ["Ubuntu  Core"]),
    (MODE, "0644", ["0644"], ["0420", "0600"]),
    (MODE, "{within: 0600}", ["0600", "0400"], ["0640", "4600"]),
    (MODE, "{includes: 0111}", ["0755", "4711"], ["0644"]),
    (CMDLINE, '{cpus: "2-15"}', ["2,3-15", "managed_irq,domain,2-15"], ["2-14", "on"]),
    (CMDLINE, "{cpus: {within: 2-15}}", ["4,5"], ["1-15"]),
    (MODE, "644", ["0644"], ["6440"]),
    (MODE, "4755", ["4755"], ["0755"]),
    (RUNNING, "on", [True], [False]),
    (RUNNING, "yes", [True], [False]),
    (RUNNING, "no", [False], [True]),
    (RUNNING, "false", [False], [True]),
    (SYSCTL, "010", ["010"], ["8", "10"]),
    (SYSCTL, "4096 87380   6291456", ["4096 87380 6291456"], ["4096"]),
    (OPTION, "n", ["n"], ["y", "m", "undefined", "no"]),
    (OPTION, "'\"bpf\"'", ["bpf"], ['"bpf"']),
    (CPUS, "2", [2], [1, 3]),
    (MEMORY, "2Gi", [2 << 30], [2 * 10**9, (2 << 30) - 1]),
    (MEMORY, "1700M", [1_700_000_000], [1700 << 20]),
    #
    # predicates that a type names
    (OPTION, "enabled", ["y", "m"], ["n", "undefined", "250"]),
    (OPTION, "disabled", ["n", "undefined"], ["y", "m", "250"]),
    (MODULE, "usable", ["loaded", "builtin", "loadable"], ["blocked", ABSENT]),
    (MODULE, "loaded", ["loaded"], ["builtin", "loadable", "blocked", ABSENT]),
    #
    # versions are spans
    (VERSION, "6.1", ["6.1", "6.1.0", "6.1.176"], ["6.10", "6.2", "6.0.19", "6.1-rc1", "6.2-rc1"]),
    (VERSION, "'=6.1'", ["6.1", "6.1.176"], ["6.2", "6.0"]),
    (VERSION, "'<=6.1'", ["6.1.176", "6.1", "5.10"], ["6.2", "6.2-rc1", "6.10"]),
    (VERSION, "'>6.1'", ["6.2", "6.2-rc1", "6.10", "7.0"], ["6.1", "6.1.176", "6.0"]),
    (VERSION, "'<6.1'", ["6.0.19", "6.1-rc8"], ["6.1", "6.1.1"]),
    (VERSION, "'>=6.1'", ["6.1", "6.1.1", "7"], ["6.1-rc8", "6.0"]),
    (VERSION, "'!=6.1'", ["6.0", "6.2", "6.1-rc1"], ["6.1", "6.1.176"]),
    (VERSION, "'>=5.8 <6'", ["5.8", "5.19.17"], ["5.7", "6.0"]),
    (VERSION, "'>=5.8,<6'", ["5.8", "5.19.17"], ["5.7", "6.0"]),
    (VERSION, "'>= 5.8 , < 6'", ["5.8", "5.19.17"], ["5.7", "6.0"]),
    (VERSION, "'>=1.7.28 <2 || >=2.1.5'", ["1.7.28", "1.8", "2.1.5", "3"], ["1.7.27", "2.0", "2.1.4"]),
    (VERSION, "v6.1", ["6.1.5", "v6.1.5"], ["6.2"]),
    (VERSION, "6.1-rc3", ["6.1-rc3", "6.1.0-rc.3"], ["6.1", "6.1-rc4", "6.1.3"]),
    (VERSION, "[5.15, '>=6.1']", ["5.15.3", "6.1", "6.8"], ["5.16", "5.10"]),
    (DEB, "'>=1:2.0-3'", ["1:2.0-3", "1:2.0-3+b1", "2:0"], ["2.0-3", "1:2.0-2", "1:2.0~rc1-9"]),
    (DEB, "1.2", ["1.2", "1.2-1", "1.2.9-1", "1.2+dfsg-1"], ["1.3~rc1-1", "1.3", "1:1.2"]),
    (DEB, "'<=1.2-1'", ["1.2-1", "1.1-9"], ["1.2-1+b1", "1.2-2"]),
    #
    # numbers: ranges are of ordered types, of sysctl where it says a number
    (CPUS, "'>=2'", [2, 64], [1]),
    (CPUS, "'>2 <5'", [3, 4], [2, 5]),
    (MEMORY, "'>=1700M'", [1_700_000_000, 2 << 40], [1_699_999_999]),
    (SYSCTL, "'<=60'", ["0", "60", "-1"], ["61", "many", "60 0", "", ABSENT]),
    (SYSCTL, "'!=60'", ["0", "61"], ["60", "many", ABSENT]),
    (SYSCTL, "'>=0x10'", ["16", "0x10"], ["15"]),
    (HZ, "'>=250'", ["250", "1000"], ["100", "y", "undefined", "text"]),
    (HZ, "250", ["250"], ["100", "y"]),
    #
    # lists, any, all, none, not of a single value
    (ID, "[debian, ubuntu]", ["debian", "ubuntu"], ["fedora"]),
    (ID, "{any: [debian, ubuntu]}", ["debian", "ubuntu"], ["fedora"]),
    (ID, "{none: [debian, ubuntu]}", ["fedora"], ["debian", "ubuntu"]),
    (ID, "{not: debian}", ["fedora"], ["debian"]),
    (ID, "{not: [debian, ubuntu]}", ["fedora"], ["debian", "ubuntu"]),
    (VERSION, "{all: ['>=5', '<6', {not: '5.4'}]}", ["5.3", "5.10"], ["5.4.9", "6.1"]),
    (VERSION, "{is: '>=5', not: '5.4', none: ['5.10', '5.11']}", ["5.5", "6"], ["5.4.1", "5.10.9", "4.19"]),
    (VERSION, "{any: ['4.19', {all: ['>=5.4', '<5.10']}]}", ["4.19.3", "5.4", "5.9"], ["5.3", "5.10"]),
    (CGROUPS, "{not: 1}", ["2", "hybrid"], ["1", ABSENT]),
    (NAME, "{equals: debian}", ["debian"], ["Debian"]),
    (NAME, "{equals: present}", ["present"], ["absent", "debian"]),
    (NAME, "{equals: '>=5'}", [">=5"], ["6"]),
    (NAME, "{equals: 'a  b'}", ["a  b"], ["a b"]),
    (HZ, "{equals: enabled}", ["enabled"], ["y"]),
    (NAME, "{matches: '6[.].*-(amd64|cloud)'}", ["6.1.0-50-amd64"], ["5.10-amd64", "6.1.0-50-amd64x", "x6.1-amd64"]),
    (NAME, "{matches: 'a*'}", ["a" * 4096], ["a" * 4097, "b"]),
    (NAME, "{matches: '6.*', not: {matches: '.*-rt'}}", ["6.1"], ["6.1-rt", "5"]),
    #
    # sets
    (CONTROLLERS, "[cpu, memory]", [of("cpu", "memory"), of("cpu", "memory", "io")], [of("cpu"), of()]),
    (CONTROLLERS, "{all: [cpu, memory]}", [of("cpu", "memory", "io")], [of("cpu"), of()]),
    (CONTROLLERS, "{any: [cpu, memory]}", [of("cpu"), of("memory", "io")], [of("io"), of()]),
    (CONTROLLERS, "{none: [cpu, memory]}", [of("io"), of()], [of("cpu", "io"), of("memory")]),
    (CONTROLLERS, "{only: [cpu, memory]}", [of("cpu"), of(), of("cpu", "memory")], [of("cpu", "io"), of("io")]),
    (CONTROLLERS, "{only: []}", [of()], [of("cpu")]),
    (CONTROLLERS, "{equals: [cpu, memory]}", [of("cpu", "memory")], [of("cpu"), of("cpu", "memory", "io"), of()]),
    (CONTROLLERS, "{equals: []}", [of()], [of("cpu")]),
    (CONTROLLERS, "{all: [cpu], only: [cpu, io], none: [io]}", [of("cpu")], [of("cpu", "io"), of(), of("io")]),
    (CONTROLLERS, "{any: [io], none: [cpu]}", [of("io"), of("io", "pids")], [of("io", "cpu"), of("pids")]),
    (FLAGS, "{any: [vmx, svm]}", [of("svm", "sse")], [of("sse")]),
    (FLAGS, "{matches: 'avx.*'}", [of("avx512f", "sse")], [of("sse"), of()]),
    (FLAGS, "[sse, {matches: 'avx.*'}]", [of("avx2", "sse")], [of("sse"), of("avx2")]),
    (FLAGS, "[{any: [vmx, svm]}, sse]", [of("svm", "sse")], [of("svm"), of("sse")]),
    (FLAGS, "{only: [{matches: 'sse.*'}]}", [of("sse", "sse2"), of()], [of("sse", "avx")]),
    #
    # rows of a table
    (ROW, "present", ["there"], [ABSENT]),
    (ROW, "absent", [ABSENT], ["there"]),
    (ROW, "{is: present, why: because}", ["there"], [ABSENT]),
    (ROW, "{is: {not: present}}", [ABSENT], ["there"]),
    #
    # absence satisfies only `absent`, `not: present`, and an `any` that lists `absent`
    (LOCKDOWN, "absent", [ABSENT], ["none", "integrity"]),
    (LOCKDOWN, "present", ["none", "integrity"], [ABSENT]),
    (LOCKDOWN, "{not: present}", [ABSENT], ["none"]),
    (LOCKDOWN, "{not: absent}", ["none"], [ABSENT]),
    (LOCKDOWN, "{any: [absent, none]}", [ABSENT, "none"], ["integrity"]),
    (LOCKDOWN, "[absent, none]", [ABSENT, "none"], ["integrity"]),
    (LOCKDOWN, "{not: none}", ["integrity"], [ABSENT, "none"]),
    (LOCKDOWN, "{none: [none, confidentiality]}", ["integrity"], [ABSENT, "none"]),
    (LOCKDOWN, "{not: [absent, none]}", ["integrity"], [ABSENT, "none"]),
    (LOCKDOWN, "{any: [absent, none], not: confidentiality}", ["none"], [ABSENT, "confidentiality", "integrity"]),
    (SYSCTL, "{not: 60}", ["0"], ["60", ABSENT]),
    (SYSCTL, "{equals: absent}", ["absent"], [ABSENT]),
    (SYSCTL, "{any: [absent, '<=10']}", [ABSENT, "10"], ["11"]),
    (SYSCTL, "{matches: '.+'}", ["x"], [ABSENT, ""]),
    (OS_VERSION, "'!=5'", ["6"], [ABSENT, "5.1"]),
    (OS_VERSION, "{any: ['>=5', absent]}", [ABSENT, "5"], ["4"]),
]


def named(value: object) -> Optional[str]:
    """A test is named by place and expectation: sets are printed in another order by every process."""
    return None if isinstance(value, list) else str(value)[:48]


@pytest.mark.parametrize(("place", "expects", "met", "unmet"), MEANING, ids=named)
def test_an_expectation_means(place: Place, expects: str, met: List[Said], unmet: List[Said]) -> None:
    assert {str(seen): outcome(place, expects, seen) for seen in met} == {str(seen): "pass" for seen in met}
    assert {str(seen): outcome(place, expects, seen) for seen in unmet} == {str(seen): "fail" for seen in unmet}


# ids, order, words


def test_an_id_is_the_place_and_a_rule_leads() -> None:
    plan = planned(
        a="""
require:
  kernel: {version: '>=5', config: {CONFIG_USER_NS: y}}
  modules: {br-netfilter: usable}
  packages: {runc: {is: present, version: '>=1.1'}}
  sysctl: {net/ipv4/conf/eth0.100/forwarding: 1}
recommend:
  kernel: {version: '>=6'}
rules:
  - {name: one, when: {cgroups: {version: 2}}, require: {kernel: {version: '>=5.8'}}, recommend: {cpu: {count: '>=2'}}}
  - {name: two, any: [{cpu: {count: '>=2'}}, {memory: {total: '>=1G'}}]}
  - {name: three, level: recommended, any: [{cpu: {count: '>=2'}}, {memory: {total: '>=1G'}}]}
  - {name: four, every: packages, where: {architecture: amd64}, require: {status: installed}}
"""
    )
    assert [(one.id, one.level) for one in plan.requirements] == [
        ("kernel.version", "required"),
        ("kernel.config.USER_NS", "required"),
        ("modules.br_netfilter", "required"),
        ("packages.runc", "required"),
        ("packages.runc.version", "required"),
        ("sysctl.net.ipv4.conf.eth0/100.forwarding", "required"),
        ("recommended.kernel.version", "recommended"),
        ("one.kernel.version", "required"),
        ("one.recommended.cpu.count", "recommended"),
        ("two", "required"),
        ("three", "recommended"),
        ("four", "required"),
    ]
    assert plan.requirements[1].source == ("a:4:37",)
    assert plan.requirements[4].source == ("a:6:34",)
    assert plan.requirements[9].source == ("a:12:12",)


def test_words_stand_beside_an_expectation_a_row_or_a_rule() -> None:
    plan = planned(
        a="""
require:
  kernel: {version: {is: '>=5', why: old   kernels leak, fix: boot another, see: https://example.com}}
  packages: {runc: {why: row, version: '>=1', deb: {is: '>=1', why: column}}}
rules:
  - name: r
    why: rule
    fix: mend
    require: {cpu: {count: '>=2'}, memory: {total: {is: '>=1G', why: own}}}
"""
    )
    said = {one.id: (one.why, one.fix, one.see) for one in plan.requirements}
    assert said == {
        "kernel.version": ("old kernels leak", "boot another", "https://example.com"),
        "packages.runc.version": ("row", "", ""),
        "packages.runc.deb": ("column", "", ""),
        "r.cpu.count": ("rule", "mend", ""),
        "r.memory.total": ("own", "mend", ""),
    }


def test_a_folded_text_is_one_line() -> None:
    plan = planned(a="require:\n  cpu:\n    count:\n      is: 2\n      why: >\n        a\n        b\n")
    assert plan.requirements[0].why == "a b"


# params


PARAMS = """
params:
  stage: {default: joining, choices: [joining, joined], why: when}
  least: {default: '>=5.8'}
  cpus: {default: 2, type: number}
require:
  kernel: {version: {param: least, not: '6.0'}}
  os: {id: [debian, {param: stage}]}
rules:
  - {name: early, when: {params: {stage: joining}}, require: {ports: {10250: free}}}
  - {name: large, when: {params: {cpus: '>=4'}}, require: {memory: {total: '>=8G'}}}
"""


def test_a_param_stands_for_its_text() -> None:
    said: dict[str, Said] = {"kernel.version": "5.10", "os.id": "joined", "ports.10250": "listening", "memory.total": 1}
    outcomes = {name: one.outcome for name, one in found(planned(a=PARAMS), said).items()}
    assert outcomes == {
        "kernel.version": "pass",
        "os.id": "fail",
        "early.ports.10250": "fail",
        "large.memory.total": "not-applicable",
    }
    later = bound({"stage": "joined", "least": "<5", "cpus": "4"}, a=PARAMS)
    outcomes = {name: one.outcome for name, one in found(later, said).items()}
    assert outcomes == {
        "kernel.version": "fail",
        "os.id": "pass",
        "early.ports.10250": "not-applicable",
        "large.memory.total": "fail",
    }
    assert [(one.name, one.value, one.source, one.why) for one in later.params] == [
        ("stage", "joined", "set", "when"),
        ("least", "<5", "set", ""),
        ("cpus", "4", "set", ""),
    ]
    assert found(planned(a=PARAMS), {**said, "kernel.version": "6.0.3"})["kernel.version"].outcome == "fail"


def test_a_child_changes_the_default_and_narrows_the_choices() -> None:
    child = "extends: [a]\nparams: {stage: {default: joined}, cpus: {default: 8}}"
    assert [(one.value, one.choices) for one in planned("b", a=PARAMS, b=child).params] == [
        ("joined", ("joining", "joined")),
        (">=5.8", ()),
        ("8", ()),
    ]
    narrow = "extends: [a]\nparams: {stage: {choices: [joining]}}"
    assert planned("b", a=PARAMS, b=narrow).params[0].choices == ("joining",)
    with pytest.raises(UsageError, match="--set stage=joined: `joined` is not one of joining"):
        bound({"stage": "joined"}, "b", a=PARAMS, b=narrow)
    assert planned("b", a=PARAMS, b=narrow).params[0].why == "when"
    later = planned("b", a=PARAMS, b="extends: [a]\nparams: {stage: {default: joined, choices: [joined]}}")
    assert found(later, {})["early.ports.10250"].outcome == "not-applicable"


def test_on_trial_a_param_without_default_gets_a_sample() -> None:
    text = "params: {role: {choices: [a, b]}, n: {type: number}}\nrequire: {cpu: {count: {param: n}}}"
    plan = resolve(["a"], Shelf({"a": text}), {"other": "x"}, trial=True)
    assert [one.value for one in plan.params] == ["a", "1"]


# composition


def test_extends_is_and() -> None:
    plan = planned(
        "child",
        parent="require: {kernel: {version: {is: '>=5', why: parent, see: parent}}}",
        child="extends: [parent]\nrequire: {kernel: {version: {is: '<6', why: child}}}",
    )
    (requirement,) = plan.requirements
    assert requirement.source == ("parent:2:20", "child:3:20")
    assert (requirement.why, requirement.see) == ("child", "parent")
    assert [found(plan, {"kernel.version": v})["kernel.version"].outcome for v in ("4.19", "5.4", "6.1")] == [
        "fail",
        "pass",
        "fail",
    ]
    assert [part.expected for part in found(plan, {"kernel.version": "5.4"})["kernel.version"].parts] == [">=5", "<6"]


def test_what_two_files_say_alike_is_said_once() -> None:
    plan = planned("b", a="require: {cpu: {count: '>=2'}}", b="extends: [a]\nrequire: {cpu: {count: '>=2'}}")
    (requirement,) = plan.requirements
    assert requirement.source == ("a:2:17", "b:3:17")
    assert requirement.pattern == {"fact": ["cpu", "count"], "expect": ">=2"}


def test_order_is_parents_as_listed_depth_first_then_own() -> None:
    plan = planned(
        "child",
        child="extends: [b, a]\nrequire: {os: {id: child}}",
        a="extends: [base]\nrequire: {memory: {total: '>=1G'}}",
        b="require: {swap: {total: 0}}",
        base="require: {cpu: {count: '>=2'}}",
    )
    assert ids(plan) == ["swap.total", "cpu.count", "memory.total", "os.id"]
    assert plan.specs[0].sources == ("b", "base", "a", "child")


def test_a_file_counts_once() -> None:
    plan = planned(
        "child",
        child="extends: [left, right]\nrequire: {os: {id: child}}",
        left="extends: [base]\nrequire: {memory: {total: '>=1G'}}",
        right="extends: [base]\nrequire: {swap: {total: 0}}",
        base="require: {cpu: {count: '>=2'}}\nrules: [{name: r, any: [{os: {id: a}}, {os: {id: child}}]}]",
    )
    assert ids(plan) == ["cpu.count", "r", "memory.total", "swap.total", "os.id"]
    assert plan.requirements[0].source == ("base:2:17",)


def test_a_drop_loosens_what_is_inherited() -> None:
    texts = {
        "base": "require: {cpu: {count: '>=2'}, kernel: {version: '>=5', config: {A: y, B: y}}}\n"
        "rules: [{name: r, require: {os: {id: debian}, memory: {total: '>=1G'}}}]",
        "child": "extends: [base]\ndrop: [cpu.count, kernel.config.*, r]\nrequire: {swap: {total: 0}}",
    }
    plan = planned("child", **texts)
    assert ids(plan) == ["kernel.version", "swap.total"]
    assert plan.specs[0].drops == (
        "cpu.count",
        "kernel.config.* (kernel.config.A, kernel.config.B)",
        "r (r.os.id, r.memory.total)",
    )


def test_to_drop_and_say_anew_replaces() -> None:
    plan = planned(
        "child",
        base="require: {cpu: {count: '>=4'}}\nrules: [{name: r, any: [{os: {id: a}}, {os: {id: b}}]}]",
        child="extends: [base]\ndrop: [cpu.count, r]\nrequire: {cpu: {count: '<4'}}\n"
        "rules: [{name: r, any: [{os: {id: c}}, {os: {id: d}}]}]",
    )
    assert ids(plan) == ["cpu.count", "r"]
    assert plan.requirements[0].source == ("child:4:17",)
    assert found(plan, {"cpu.count": 2, "os.id": "c"})["r"].outcome == "pass"


def test_a_drop_acts_on_what_its_own_document_inherits_and_on_nothing_else() -> None:
    texts = {
        "base": "require: {cpu: {count: '>=2'}, memory: {total: '>=1G'}}",
        "strict": "extends: [base]\nrequire: {swap: {total: 0}}",
        "loose": "extends: [base]\ndrop: [cpu.count]",
        "both": "extends: [strict, loose]",
        "turned": "extends: [loose, strict]",
    }
    assert ids(planned("loose", **texts)) == ["memory.total"]
    assert set(ids(planned("both", **texts))) == {"cpu.count", "memory.total", "swap.total"}
    assert set(ids(planned("turned", **texts))) == {"cpu.count", "memory.total", "swap.total"}
    assert set(ids(planned("loose", "base", **texts))) == {"cpu.count", "memory.total"}
    with pytest.raises(UsageError, match=r"`memory\.total` matches no inherited requirement or rule"):
        planned("base", "other", **texts, other="drop: [memory.total]\nrequire: {swap: {total: 0}}")


def test_several_on_one_command_line_are_one_spec_that_extends_all() -> None:
    texts = {
        "a": "name: first\ntitle: The first\nparams: {p: {default: x}}\nrequire: {cpu: {count: '>=2'}}",
        "b": "name: second\nextends: [c]\nrequire: {cpu: {count: '<9'}, os: {id: b}}",
        "c": "name: third\nrequire: {memory: {total: '>=1G'}}",
    }
    plan = planned("a", "b", **texts)
    assert ids(plan) == ["cpu.count", "memory.total", "os.id"]
    assert [(spec.name, spec.title, spec.extends) for spec in plan.specs] == [
        ("first", "The first", ()),
        ("second", "", ("third",)),
    ]
    alone = [planned(name, **texts).specs[0].digest for name in ("a", "b")]
    assert [spec.digest for spec in plan.specs] == alone
    assert ids(planned("a", "a", **texts)) == ["cpu.count"]


def test_a_digest_is_of_what_a_spec_comes_to() -> None:
    one = planned(a="require: {cpu: {count: '>=2'}}").specs[0].digest
    assert planned(other="name: x\n\n\nrequire:\n  cpu:\n    count: '>=2'").specs[0].digest == one
    assert planned(a="require: {cpu: {count: '>=3'}}").specs[0].digest != one
    assert planned(a="recommend: {cpu: {count: '>=2'}}").specs[0].digest != one
    assert planned(a="require: {cpu: {count: {is: '>=2', why: x}}}").specs[0].digest != one
    rule = "rules: [{name: r, any: [{cpu: {count: 2}}, {cpu: {count: 4}}]}]"
    recommended = rule.replace("name: r", "name: r, level: recommended")
    assert planned(a=rule).specs[0].digest != planned(a=recommended).specs[0].digest


def test_a_name_is_that_of_the_document_or_as_it_was_asked_for() -> None:
    assert planned(a="name: node\nrequire: {cpu: {count: 2}}").specs[0].name == "node"
    assert planned(a="require: {cpu: {count: 2}}").specs[0].name == "a"


def test_a_spec_says_which_nodespec_it_needs() -> None:
    assert ids(planned(a="requires: '>=0.1'\nrequire: {cpu: {count: 2}}")) == ["cpu.count"]


def test_json_is_a_spec_too() -> None:
    plan = resolve(["a"], Shelf({"a": '{"nodespec": 1,\n"require": {"cpu": {"count": 2}}}'}), {})
    assert ids(plan) == ["cpu.count"]


@pytest.mark.parametrize("files", [19_999, 20_000])
def test_a_folder_with_many_files_is_a_library(monkeypatch: pytest.MonkeyPatch, files: int) -> None:
    monkeypatch.setattr(os, "walk", lambda folder: iter([(folder, [], ["a.yaml"] * files)]))
    assert len(list(library.iter_files("folder"))) == files


def test_a_folder_with_too_many_files_is_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "walk", lambda folder: iter([(folder, [], ["a.yaml"] * 20_001)]))
    with pytest.raises(UsageError, match="folder: more than 20000 files and folders"):
        list(library.iter_files("folder"))
