from __future__ import annotations

from typing import Sequence, Tuple

import pytest

from nodespec.judge.clause_result import describe_absence_reason, describe_absent_alternatives
from nodespec.model.report import Observed, Part

NOT_READY = (
    "no container runtime with api v1 and conditions RuntimeReady: containerd or CRI-O (containerd does not run)"
)


def alternative(row: str, column: str, expected: str, text: str, state: str = "absent") -> Tuple[str, str, Part]:
    return row, column, Part(f"runtime.{row}.{column}", expected, Observed(state, text), (), "fail")


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (
            [
                alternative("containerd", "version", ">=1.7", "absent: containerd is not installed"),
                alternative("crio", "version", ">=1.33", "absent: crio is not installed"),
            ],
            "no container runtime: containerd >=1.7 or CRI-O >=1.33",
        ),
        (
            [
                alternative("containerd", "api", "v1", "absent: containerd does not run"),
                alternative(
                    "containerd",
                    "conditions",
                    "RuntimeReady",
                    "absent: containerd does not run",
                ),
                alternative("crio", "api", "v1", "absent: crio is not installed"),
                alternative("crio", "conditions", "RuntimeReady", "absent: crio is not installed"),
            ],
            NOT_READY,
        ),
        (
            [alternative(name, "", "present", "no such package") for name in ("chrony", "ntp", "ntpsec")],
            "no container runtime: chrony, ntp or ntpsec",
        ),
        (
            [
                alternative("containerd", "version", ">=1.7", "absent: containerd is not installed"),
                alternative("crio", "version", ">=1.33", "1.20", "value"),
            ],
            "",
        ),
        ([], ""),
    ],
)
def test_absent_alternatives_are_named_by_their_noun(parts: Sequence[Tuple[str, str, Part]], sentence: str) -> None:
    assert describe_absent_alternatives("container runtime", parts, {"crio": "CRI-O"}) == sentence


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        (Observed("absent", "absent: crio is not installed"), "crio is not installed"),
        (Observed("absent", "no such row: there is xt_comment"), ""),
        (Observed("absent", "absent"), ""),
        (Observed("value", "a: b"), ""),
    ],
)
def test_only_a_stated_reason_of_an_absence_is_a_reason(observed: Observed, reason: str) -> None:
    assert describe_absence_reason(Part("runtime.crio", "present", observed, (), "fail")) == reason
