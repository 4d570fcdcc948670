"""A SysSpec is a spec: with its documented meaning, and nothing left out unsaid."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Dict

import pytest
from pretended import ABSENT, Said, Shelf, found

from nodespec.__main__ import main
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError

FILE = Path(__file__).parent / "specs" / "gke-like.yaml"
PLAN = resolve([str(FILE)], Library(), {})


def test_what_a_sysspec_asks() -> None:
    asked = {one.id: (one.level, one.pattern.get("expect"), bool(one.when)) for one in PLAN.requirements}
    assert asked == {
        "kernel.config.NAMESPACES": ("required", "enabled", False),
        "kernel.config.IP_NF_TARGET_REDIRECT": ("required", "enabled", False),
        "kernel.config.AUFS_FS": ("required", "disabled", False),
        "recommended.kernel.config.OVERLAY_FS": ("recommended", "enabled", False),
        "recommended.kernel.release": (
            "recommended",
            {"matches": r"(?:4\.[4-9].*)|(?:5\.(4|10|15).*$)|(?:[6-9]\..*)"},
            False,
        ),
        "cgroups.version": ("required", "present", False),
        "cgroup-v1.kernel.config.CGROUP_DEVICE": ("required", "enabled", True),
        "cgroup-v1.recommended.kernel.config.CGROUP_HUGETLB": ("recommended", "enabled", True),
        "cgroup-v1.cgroups.controllers": ("required", {"all": ["cpu", "cpuacct", "devices"]}, True),
        "cgroup-v1.recommended.cgroups.controllers": ("recommended", {"all": ["hugetlb"]}, True),
        "cgroup-v2.kernel.config.CGROUP_BPF": ("required", "enabled", True),
        "cgroup-v2.recommended.kernel.config.BLK_CGROUP": ("recommended", "enabled", True),
        "cgroup-v2.cgroups.controllers": ("required", {"all": ["cpu", "memory"]}, True),
        "cgroup-v2.recommended.cgroups.controllers": ("recommended", {"all": ["io"]}, True),
        "packages.bash.version": ("required", ">=4.3 <6 || =7.1", False),
        "packages.apparmor.version": ("required", ">=2.10.1 !=2.11.0", False),
        "packages-but-on-cos-ubuntu.packages.wget.version": ("required", ">=1.18", True),
        "packages-but-on-cos.packages.socat": ("required", "present", True),
        "packages-on-ubuntu.packages.wget.version": ("required", ">=1.17.1", True),
        "packages-on-ubuntu.packages.auditd": ("required", "present", True),
    }


def test_words_positions_and_names() -> None:
    by_id = {one.id: one for one in PLAN.requirements}
    redirect = by_id["kernel.config.IP_NF_TARGET_REDIRECT"]
    assert redirect.why == "services are redirected"
    assert redirect.pattern["aliases"] == ["NETFILTER_XT_TARGET_REDIRECT"]
    assert redirect.source == (f"{FILE}:8:14",)
    assert by_id["recommended.kernel.release"].why == "the versions that were tried"
    assert all(one.why and one.see for one in PLAN.requirements)
    assert PLAN.specs[0].title == "converted from a SysSpec"


def test_what_cannot_be_carried_over_is_listed() -> None:
    assert PLAN.specs[0].notes == (
        f"{FILE}:19:10: `version`: Docker is no longer validated as a runtime",
        f"{FILE}:20:14: `graphDriver`: Docker is no longer validated as a runtime",
        f"{FILE}:24:5: package `linux-headers-${{KERNEL_RELEASE}}`: a name that depends on the running kernel",
    )


def test_lint_lists_what_cannot_be_converted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(FILE)]) == 0
    assert capsys.readouterr().out.count("cannot be converted") == 3


@pytest.mark.parametrize(
    ("said", "name", "outcome"),
    [
        ({"kernel.release": "4.9.0"}, "recommended.kernel.release", "pass"),
        ({"kernel.release": "14.9.0"}, "recommended.kernel.release", "fail"),  # a pattern is not anchored upstream
        ({"kernel.release": "5.10.0-9-amd64"}, "recommended.kernel.release", "pass"),
        ({"kernel.release": "5.8.1"}, "recommended.kernel.release", "fail"),
        ({"kernel.config.NETFILTER_XT_TARGET_REDIRECT": "m"}, "kernel.config.IP_NF_TARGET_REDIRECT", "pass"),
        ({"kernel.config.AUFS_FS": "n"}, "kernel.config.AUFS_FS", "pass"),
        ({"kernel.config.AUFS_FS": "m"}, "kernel.config.AUFS_FS", "fail"),
        ({"cgroups.version": ABSENT}, "cgroups.version", "fail"),
        ({"cgroups.version": "hybrid"}, "cgroups.version", "pass"),
        ({"cgroups.version": "2"}, "cgroup-v1.kernel.config.CGROUP_DEVICE", "not-applicable"),
        ({"cgroups.version": "hybrid"}, "cgroup-v1.kernel.config.CGROUP_DEVICE", "fail"),
        ({"cgroups.version": "1"}, "cgroup-v2.recommended.kernel.config.BLK_CGROUP", "not-applicable"),
        ({"cgroups.version": "2"}, "cgroup-v2.recommended.kernel.config.BLK_CGROUP", "fail"),
        ({"packages.bash.version": "5.2"}, "packages.bash.version", "pass"),
        ({"packages.bash.version": "6.0"}, "packages.bash.version", "fail"),
        ({"packages.bash.version": "7.1.3"}, "packages.bash.version", "pass"),
        ({"packages.apparmor.version": "2.11.0"}, "packages.apparmor.version", "fail"),
        ({"packages.wget.version": "1.17.2", "os.id": "ubuntu"}, "packages-on-ubuntu.packages.wget.version", "pass"),
        ({"os.id": "ubuntu"}, "packages-but-on-cos-ubuntu.packages.wget.version", "not-applicable"),
        ({"os.id": "debian"}, "packages-but-on-cos-ubuntu.packages.wget.version", "fail"),
        ({"os.id": "debian"}, "packages-on-ubuntu.packages.auditd", "not-applicable"),
    ],
)
def test_what_it_means_on_a_host(said: Dict[str, Said], name: str, outcome: str) -> None:
    bare: Dict[str, Said] = {one.id: "undefined" for one in PLAN.requirements if "config" in one.id}
    options = {f"kernel.config.{name.rpartition('.')[2]}": value for name, value in bare.items()}
    options["kernel.config.NETFILTER_XT_TARGET_REDIRECT"] = "undefined"
    assert found(PLAN, {"os.id": "debian", "cgroups.version": "2", **options, **said})[name].outcome == outcome


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("os: Windows", "1:5: `os: Windows` is not supported; nodespec checks only Linux"),
        ("os: Linux", "the spec has no requirements"),
        ("os: Linux\nkernel: {}", "2:1: unknown key `kernel`; did you mean `kernelSpec`?"),
        ("kernelSpec: [a]", "1:13: `kernelSpec` must be a mapping"),
        ("kernelSpec: {requierd: []}", "1:14: unknown key `requierd`; did you mean `required`?"),
        ("kernelSpec: {required: [NET_NS]}", "1:25: `required` must be a list of mappings"),
        ("kernelSpec: {required: [{nme: NET_NS}]}", "1:26: unknown key `nme`; did you mean `name`?"),
        ("kernelSpec: {required: [{aliases: [NET_NS]}]}", "1:25: `name` is required"),
        ("kernelSpec: {required: [{name: NET-NS}]}", "1:32: `NET-NS` is not the name of a build option"),
        ("kernelSpec: {versions: ['(']}", "1:25: `(` is not a valid regular expression"),
        ("kernelSpec: {versions: ['.*']}", "`(?:.*)` matches every text, so that the requirement cannot fail"),
        ("kernelSpec: {required: [{name: A}], forbidden: [{name: A}]}", "1:56: `A` has two different expectations"),
        (
            "kernelSpec: {required: [{name: A, aliases: [B]}, {name: A, aliases: [C]}]}",
            "1:57: `A` has two different expectations",
        ),
        ("cgroups: [cpuu]", "1:11: `cpuu` is not one of"),
        ("cgroups: cpu", "1:10: must be a list"),
        ("packageSpecs: [{name: a, versionRange: '>=x'}]", "`x` is not a version"),
        (
            "packageSpecs: [{name: a, versionRange: '>=1'}, {name: a, versionRange: '>=2'}]",
            "1:55: `a` has two different expectations",
        ),
        ("packageSpecOverrides: [{additions: [{name: a}]}]", "1:24: `osDistro` must be a text that is not empty"),
        ("packageSpecOverrides: [{osDistro: ubuntu, removals: []}]", "1:43: unknown key `removals`"),
    ],
)
def test_a_bad_sysspec_is_told_with_its_position(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(["s"], Shelf({"s": f"{text}\n"}), {})
    assert any(said in line for line in caught.value.messages), caught.value.messages


@pytest.mark.parametrize("pattern", ["6[[.]1", "6[+--]1", "6[.&&]1", "6[.||]1", "6[.~~]1"])
@pytest.mark.parametrize(
    "text", ["kernelSpec: {{versions: ['{}']}}", "nodespec: 1\nrequire: {{os: {{id: {{matches: '{}'}}}}}}"]
)
def test_of_a_pattern_that_python_may_once_read_otherwise_nothing_is_said(text: str, pattern: str) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        resolve(["s"], Shelf({"s": text.format(pattern) + "\n"}), {})
    assert not said


def test_what_is_asked_twice_alike_is_asked_once() -> None:
    text = "kernelSpec: {required: [{name: A}, {name: A, description: why}]}\ncgroups: []\npackageSpecs: []\n"
    assert [one.id for one in resolve(["s"], Shelf({"s": text}), {}).requirements] == ["kernel.config.A"]


def test_a_spec_may_extend_a_sysspec() -> None:
    texts = {
        "s": "kernelSpec: {required: [{name: A}, {name: B}]}\n",
        "child": "extends: [s]\ndrop: [kernel.config.A]\nrequire: {cpu: {count: 2}}",
    }
    plan = resolve(["child"], Shelf(texts), {})
    assert [one.id for one in plan.requirements] == ["kernel.config.B", "cpu.count"]


@pytest.mark.parametrize("text", ["os:\n  id: debian\n", "kernel: {release: 6.1.0}\nswap: {total: 0}\n"])
def test_facts_are_not_taken_for_a_sysspec(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "facts.yaml").write_text(text)
    assert main(["lint", str(tmp_path / "facts.yaml")]) == 2
    said, family = capsys.readouterr().err, text.split(":", maxsplit=1)[0]
    assert f"`{family}` is a family of facts; write it under `require` or `recommend`" in said
    assert "`nodespec: 1` is required" in said
