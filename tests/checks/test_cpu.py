from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespec.checks import cpu
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

V1 = "fpu cx8 cmov mmx fxsr sse sse2 syscall lm"
V2 = f"{V1} pni cx16 sse4_1 sse4_2 ssse3 popcnt lahf_lm"
V3 = f"{V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
V4 = f"{V3} avx512f avx512dq avx512cd avx512bw avx512vl"
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd aes sve\nCPU part\t: 0xd40\n\n"
POWER = "processor\t: 0\ncpu\t\t: POWER9 (architected), altivec supported\nclock\t\t: 2200MHz\n\n"
S390 = "vendor_id       : IBM/S390\n# processors    : 2\nfeatures\t: esan3 zarch vx\n"
S390 += "processor 0: version = FF,  identification = 0123\nprocessor 1: version = FF,  identification = 0124\n"


def x86(*flags: str) -> str:
    return "".join(
        f"processor\t: {number}\nmodel name\t: Some  CPU @ 2.50GHz\nflags\t\t: {words}\n\n"
        for number, words in enumerate(flags)
    )


def machine(make_tree: MakeTree, cpuinfo: str, online: str = "") -> Machine:
    files = {"/proc/self/stat": "1", "/proc/cpuinfo": cpuinfo, "/sys/kernel/notes": ""}
    return Machine(make_tree({**files, **({"/sys/devices/system/cpu/online": online} if online else {})}))


@pytest.mark.parametrize(("online", "count"), [("0\n", 1), ("0-1\n", 2), ("0-3,5,8-11", 9), ("1-255", 255)])
def test_processors_online_are_counted(make_tree: MakeTree, online: str, count: int) -> None:
    seen = cpu.count.probe(machine(make_tree, x86(V1), online))
    assert seen == Value(count, Evidence("/sys/devices/system/cpu/online"))


@pytest.mark.parametrize("online", ["0-", "3-1", "x", "0,,1", "1" * 30, "0-1 2"])
def test_a_list_that_cannot_be_understood_is_no_count(make_tree: MakeTree, online: str) -> None:
    seen = cpu.count.probe(machine(make_tree, x86(V1), online))
    assert isinstance(seen, Unknown)
    assert seen.reason == "malformed"


@pytest.mark.parametrize(("cpuinfo", "count"), [(x86(V1, V1, V1), 3), (ARM, 1), (S390, 2)])
def test_without_sysfs_the_list_of_processors_is_counted(make_tree: MakeTree, cpuinfo: str, count: int) -> None:
    assert cpu.count.probe(machine(make_tree, cpuinfo)) == Value(count, Evidence("/proc/cpuinfo"))


def test_a_list_without_processors_says_nothing(make_tree: MakeTree) -> None:
    seen = cpu.flags.probe(machine(make_tree, "bogus: 1\n"))
    assert isinstance(seen, Unknown)
    assert seen.reason == "malformed"


def test_without_proc_nothing_is_known(make_tree: MakeTree) -> None:
    root = Machine(make_tree({"/etc/hostname": "x"}))
    for fact in (cpu.count, cpu.flags, cpu.level, cpu.model):
        seen = fact.probe(root)
        assert isinstance(seen, Unknown)
        assert seen.reason == "hidden"


def test_flags_are_what_all_processors_share(make_tree: MakeTree) -> None:
    seen = cpu.flags.probe(machine(make_tree, x86("lm aes avx", "lm avx", "avx aes lm")))
    assert seen == Value(frozenset({"lm", "avx"}), Evidence("/proc/cpuinfo", 3))


def test_features_of_other_architectures(make_tree: MakeTree) -> None:
    assert cpu.flags.probe(machine(make_tree, ARM)) == Value(
        frozenset({"fp", "asimd", "aes", "sve"}), Evidence("/proc/cpuinfo", 3)
    )


def test_an_architecture_that_lists_no_features(make_tree: MakeTree) -> None:
    seen = cpu.flags.probe(machine(make_tree, POWER))
    assert isinstance(seen, Unknown)
    assert seen.reason == "unsupported"


@pytest.mark.parametrize(
    ("flags", "level"), [(V1, "x86-64-v1"), (V2, "x86-64-v2"), (V3, "x86-64-v3"), (V4, "x86-64-v4")]
)
def test_level(make_tree: MakeTree, flags: str, level: str) -> None:
    seen = cpu.level.probe(machine(make_tree, x86(flags)))
    assert seen == Value(level, Evidence("/proc/cpuinfo", 3, inferred=True))


ADDED = {
    None: V1.split(),
    "x86-64-v1": V2[len(V1) :].split(),
    "x86-64-v2": V3[len(V2) :].split(),
    "x86-64-v3": V4[len(V3) :].split(),
}


@pytest.mark.parametrize(("below", "missing"), [(below, flag) for below, flags in ADDED.items() for flag in flags])
def test_a_level_wants_each_of_its_flags_and_all_levels_below(
    make_tree: MakeTree, below: Optional[str], missing: str
) -> None:
    flags = " ".join(word for word in V4.split() if word != missing)
    seen = cpu.level.probe(machine(make_tree, x86(flags)))
    assert (seen.value if isinstance(seen, Value) else None) == below


def test_the_weakest_processor_sets_the_level(make_tree: MakeTree) -> None:
    seen = cpu.level.probe(machine(make_tree, x86(V4, V2)))
    assert isinstance(seen, Value)
    assert seen.value == "x86-64-v2"


@pytest.mark.parametrize("cpuinfo", [ARM, POWER, S390, x86("fpu cmov cx8 fxsr mmx sse sse2")])
def test_other_processors_have_no_level(make_tree: MakeTree, cpuinfo: str) -> None:
    assert isinstance(cpu.level.probe(machine(make_tree, cpuinfo)), Absent)


def test_model(make_tree: MakeTree) -> None:
    assert cpu.model.probe(machine(make_tree, x86(V1))) == Value("Some CPU @ 2.50GHz", Evidence("/proc/cpuinfo", 2))


def test_model_on_power(make_tree: MakeTree) -> None:
    seen = cpu.model.probe(machine(make_tree, POWER))
    assert isinstance(seen, Value)
    assert seen.value == "POWER9 (architected), altivec supported"


def test_arm_names_no_model(make_tree: MakeTree) -> None:
    assert cpu.model.probe(machine(make_tree, ARM)) == Absent(Evidence("/proc/cpuinfo"))


@given(st.text())
def test_parsers_refuse_with_value_error_alone(text: str) -> None:
    for parser in (cpu._parse_cpuinfo, cpu._count_range_list):  # noqa: SLF001 - the parsers are what is hardened
        try:
            assert parser(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017 - either is right


@pytest.mark.root
def test_the_level_is_what_the_dynamic_loader_finds() -> None:
    loader = subprocess.run(["/lib64/ld-linux-x86-64.so.2", "--help"], capture_output=True, text=True, check=True)
    supported = [line.split()[0] for line in loader.stdout.splitlines() if "(supported" in line and "x86-64-v" in line]
    seen = cpu.level.probe(Machine())
    assert isinstance(seen, Value)
    assert seen.value == max(supported, default="x86-64-v1")
