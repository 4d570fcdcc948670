from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import wrap
from typing import List

import pytest
import sample
from hypothesis import given
from hypothesis import strategies as st

from nodespec.escape import escape_line
from nodespec.model.report import DISPOSITIONS, OUTCOMES, Report, Style
from nodespec.model.report_json import decode_reports
from nodespec.reports import words
from nodespec.reports.text import render
from nodespec.reports.text_page import wrap_words

BARE = Path(__file__).parent / "bare.json"  # the stored report of a bare host, without plan and facts
LABELS = {
    "fail.enforced": "fail",
    "unknown.enforced": "unknown",
    "fail.advisory": "warning",
    "unknown.advisory": "warning",
    "fail.waived": "waived",
    "unknown.waived": "waived",
    **{f"deferred.{one}": "deferred" for one in ("enforced", "advisory", "waived")},
    **{f"not-applicable.{one}": "n/a" for one in ("enforced", "advisory", "waived")},
    **{f"pass.{one}": "pass" for one in ("enforced", "advisory", "waived")},
    **{f"skipped.{one}": "skipped" for one in DISPOSITIONS},
    **{f"{one}.skipped": "skipped" for one in OUTCOMES},
}


def lines(*reports: Report, every: bool = False, width: int = 100) -> List[str]:
    return render(reports, Style(every=every, width=width)).splitlines()


def test_every_outcome_of_every_disposition_is_listed_under_its_label() -> None:
    assert (
        set(LABELS)
        == set(map(".".join, words.SECTION_BY_RESULT))
        == {f"{o}.{d}" for o in OUTCOMES for d in DISPOSITIONS}
    )
    shown = lines(sample.every(), every=True, width=120)
    for name, label in LABELS.items():
        [line] = [one for one in shown if re.match(rf"{label} +{re.escape(name)}: ", one)]
        outcome = name.split(".")[0]
        assert label != "skipped" or outcome == "skipped" or line.endswith(f"({outcome})")


def test_every_finding_is_counted_where_it_is_not_listed() -> None:
    text = "\n".join(lines(sample.every()))
    assert "pass     3 requirements\n" in text
    assert "pass     0 requirements" in lines(sample.lacking())
    assert "skipped  9 requirements not selected: " in text
    assert "deferred 3 requirements that require a running machine: " in text
    assert "n/a      3 requirements whose condition is false\n" in text
    assert not re.search(r"pass\.enforced +wanted", text)
    for name, label in LABELS.items():
        assert label in ("pass", "skipped", "n/a") or name in text


def test_the_first_line_is_the_conclusion_with_the_exit_code_and_the_last_says_how_to_see_more() -> None:
    shown = lines(sample.joining())
    counts = "3 fail, 3 unknown, 4 warnings, 1 waived; 51 requirements"
    assert shown[0] == f"NONCONFORMANT: {counts}; exit 10: do not join"
    assert shown[1] == "kubernetes/1.35 on node-17 (running, as root), 2026-11-21T18:40:07Z"
    assert shown[-1] == "--all shows why, where and links; `nodespec explain ID` shows one requirement."
    assert "--all" not in "".join(lines(sample.joining(), every=True))


@pytest.mark.parametrize(
    ("report", "conclusion"),
    [
        (sample.fit(), "exit 0: fit to join"),
        (sample.at_rest(), "exit 0: fit at rest; deferred requirements need the running machine"),
        (sample.partial()._replace(conclusion="conformant"), "exit 0: fit, for the selected requirements"),
        (sample.hidden(), "exit 11: do not join: too little is known"),
        (sample.at_rest()._replace(conclusion="nonconformant"), "exit 10: do not ship"),
        (sample.at_rest()._replace(conclusion="indeterminate"), "exit 11: do not ship: too little is known"),
    ],
)
def test_the_first_line_promises_no_more_than_is_known(report: Report, conclusion: str) -> None:
    assert lines(report, width=120)[0].endswith(f"; {conclusion}")


def test_the_report_on_a_bare_host_fits_a_terminal() -> None:
    """A host without kubelet and container runtime, with cgroup v1 and without forwarding."""
    reports = decode_reports(json.loads(BARE.read_text("utf-8")))
    shown = render(reports, Style(width=80)).splitlines()
    assert len(shown) <= 24
    assert [line for line in shown if len(line) > 80] == []
    assert shown[0].startswith("NONCONFORMANT: 5 fail, ")
    assert [line.split(":")[0] for line in shown if line.startswith("fail ")] == [
        "fail     cgroups.version",
        "fail     kubeadm.kubelet.path",
        "fail     ipv4.sysctl.net.ipv4.ip_forward",
        "fail     container-runtime, runtime-ready",
    ]
    text = " ".join(" ".join(shown).split())
    assert text.count("no container runtime: containerd >=1.7, CRI-O >=1.33 or cri-dockerd >=0.3") == 1
    assert "is not installed" not in text
    assert text.count(" fix ") == 5


def test_three_failures_fit_a_screen() -> None:
    shown = lines(sample.trio(), width=80)
    rows = sum(max(1, -(-len(line) // 80)) for line in shown)  # what is longer, the terminal breaks
    assert rows < 24
    assert sum(line.startswith("fail ") for line in shown) == 3


def test_a_failure_shows_its_fix_first_and_everything_with_all() -> None:
    shown = lines(sample.joining(), width=80)
    index = next(number for number, line in enumerate(shown) if line.startswith("fail     cgroups.version: "))
    assert shown[index : index + 2] == [
        "fail     cgroups.version: wanted 2, found hybrid",
        "         fix   boot with systemd.unified_cgroup_hierarchy=1",
    ]
    shown = lines(sample.joining(), width=80, every=True)
    index = next(number for number, line in enumerate(shown) if line.startswith("fail     cgroups.version: "))
    assert shown[index : index + 5] == [
        "fail     cgroups.version: wanted 2, found hybrid",
        "         fix   boot with systemd.unified_cgroup_hierarchy=1",
        "         seen  /proc/self/mountinfo:31, /proc/self/mountinfo:32",
        "         why   the kubelet refuses to start on cgroup v1 by default since 1.35",
        "         see   https://kubernetes.io/docs/concepts/architecture/cgroups/",
    ]


def test_a_failure_in_one_line_of_a_file_names_it() -> None:
    [one] = [finding for finding in sample.joining().findings if finding.id == "cgroups.version"]
    [part] = one.parts
    [first, *_] = part.evidence
    report = sample.report(one._replace(parts=(part._replace(evidence=(first,)),)))
    assert "fail     cgroups.version: wanted 2, found hybrid (/proc/self/mountinfo:31)" in lines(report)
    report = sample.report(one._replace(parts=(part._replace(evidence=(first._replace(line=0),)),)))
    assert "fail     cgroups.version: wanted 2, found hybrid" in lines(report)


def test_one_cause_is_told_once_and_few_of_many_are_named() -> None:
    text = "\n".join(lines(sample.hidden()))
    assert "unknown  31 requirements with the same cause: /proc/config.gz: permission denied\n" in text
    assert text.count("hint  run as root") == 3
    assert "and 23 more (--all lists them)" in text
    assert "kernel.config.OPTION_30" not in text
    everything = "\n".join(lines(sample.hidden(), every=True))
    assert all(finding.id in everything for finding in sample.hidden().findings)
    assert "--all" not in everything


def test_failures_with_one_observation_are_one_block() -> None:
    text = "\n".join(lines(sample.lacking(), width=120))
    reason = "wanted 1, found no such sysctl: the module br_netfilter, which would bring it, is not loaded"
    assert text.count("br_netfilter, which") == 1
    ids = [finding.id for finding in sample.lacking().findings if finding.sentence == reason]
    assert len(ids) == 2
    assert f"fail {', '.join(ids)}: {reason}" in re.sub(" +", " ", text.replace("\n", " "))


def test_rows_that_a_sentence_does_not_name_are_shown_with_all() -> None:
    text = "\n".join(lines(sample.lacking(), every=True))
    assert "seen  network.interfaces.eth1.mtu wanted >=1450, found 1400: /sys/class/net/eth1/mtu:1" in text
    assert "eth0" not in text
    shown = lines(sample.lacking())
    assert shown[shown.index("fail     mtu: every row: 2 fail, 1 pass") + 1].startswith(
        "         rows  network.interfaces.eth1.mtu wanted >=1450, found 1400; network.interfaces."
    )


def test_warnings_are_one_group_and_the_cut_is_counted() -> None:
    report = sample.report(*(sample.finding("fail", "advisory", name=f"w{n:02}") for n in range(99)))
    shown = lines(report, width=80)
    first = next(number for number, line in enumerate(shown) if line.startswith("warning"))
    assert shown[first].startswith("warning  99 recommended: w00, w01, ")
    text = " ".join(shown[first : first + 3])
    listed = text.count(" w")
    assert f", and {99 - listed} more" in text
    assert sum(line.startswith("warning") for line in shown) == 1
    assert sum(line.startswith("warning") for line in lines(report, every=True)) == 99
    unknown = sample.finding("unknown", "advisory", name="w")
    others = [sample.finding("fail", "advisory", name=f"v{number}") for number in range(3)]
    assert "warning  4 recommended (1 unknown): v0, v1, v2, w" in lines(sample.report(*others, unknown))
    assert f"warning  v0: {others[0].sentence}" in lines(sample.report(*others))


def test_waivers_are_said_with_reason_and_days_left_and_those_that_permit_nothing_too() -> None:
    text = " ".join(" ".join(lines(sample.every())).split())
    assert "until 2026-12-31, 41 days left: replaced in May (ann@example.org, w.yaml:2:3)" in text
    assert "waiver fail.enforced: expired on 2026-06-30, 144 days ago: was to be mended by summer (bob" in text
    assert "waiver cgroup.version: matches no requirement of these specs: misspelt" in text
    assert "waiver pass.enforced: not needed: no requirement that it matches fails" in text
    assert "waiver fail.enforced: void: " in text
    assert "waiver 1 more for other hosts" in text
    assert "appliance kernel" not in text
    assert "appliance kernel" in "\n".join(lines(sample.every(), every=True))


def test_what_is_called_waived_by_no_waiver_does_not_vanish() -> None:
    report = sample.report(sample.finding("fail", "waived", name="lost", waiver=7))
    assert any(line.startswith("waived   lost: ") for line in lines(report))


def test_notices_drops_and_what_a_foreign_spec_asks_in_vain_are_said() -> None:
    shown = lines(sample.every(), width=120)
    assert "notice   seen from inside a container (docker)" in shown
    assert next(line for line in shown if line.startswith("dropped")).startswith(
        "dropped  kernel.config.AUFS_FS (inherited, dropped by kubernetes/1.35"
    )
    assert "note     gke.yaml: not converted: kernelSpec: no version of 3.x can be met" in shown


def test_how_it_was_looked_at_is_said() -> None:
    report = sample.hidden()._replace(door="root /host", strict=True)
    how = "(running, --root /host, as uid 1000, in docker, recommendations enforced)"
    assert f"kubernetes/1.35 on node-17 {how}, 2026-11-21T18:40:07Z" in re.sub(" +", " ", " ".join(lines(report)))
    machine = "host     Debian GNU/Linux 12 (bookworm), kernel 6.1.0-38-amd64, x86_64; judged by nodespec 0.1.0"
    assert machine in lines(report, every=True)


def test_several_hosts_have_the_failing_ones_first_and_one_exit_code() -> None:
    shown = lines(*sample.several())
    counts = "3 hosts: 1 nonconformant, 1 indeterminate, 1 conformant"
    assert shown[0] == f"NONCONFORMANT: {counts}; exit 10: do not join"
    assert [line.split()[0] for line in shown[1:4]] == ["node-17", "node-18", "conformant:"]
    assert shown[3] == "conformant: node-1"


@pytest.mark.parametrize("width", [1, 40, 80, 100, 1000])
def test_lines_keep_to_the_width_where_words_let_them(width: int) -> None:
    for line in lines(sample.joining(), width=width):
        assert len(line) <= max(min(width, 120), 50) or "https://" in line


def test_colour_says_nothing_that_words_do_not() -> None:
    for report in (sample.every(), sample.joining(), sample.fit(), sample.hidden()):
        for every in (False, True):
            coloured = render([report], Style(colour=True, every=every))
            assert "\x1b[" in coloured
            assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render([report], Style(every=every))
            assert "\x1b" not in render([report], Style(every=every))


def test_hostile_text_is_shown_and_moves_no_cursor() -> None:
    for every in (False, True):
        text = render([sample.hostile()], Style(every=every, width=10_000))
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e\u2028\u2066\ud800-\udfff\ufffe]", text)
        assert re.search(r"\\x1b\[31mred", text)
        assert "\\u202egnp.exe" in text
        text.encode()
    # each finding keeps to its own lines: no host ends a line of ours
    plain = render([sample.hostile()._replace(findings=(sample.finding("fail", words="a\nfail     b"),))], Style())
    assert not [line for line in plain.splitlines() if line.startswith("fail     b")]


def test_a_finding_named_by_its_host_is_still_whole() -> None:
    words_ = " ".join(escape_line(" ".join(sample.HOSTILE)).split())
    text = " ".join(render([sample.hostile()], Style(every=True)).split())
    assert text.count(words_) > 2 * len(sample.hostile().findings)


@given(st.text("ab-  ", max_size=80).map(str.strip), st.integers(0, 40), st.integers(0, 12), st.integers(10, 60))
def test_lines_are_wrapped_as_textwrap_does(text: str, lead: int, hang: int, width: int) -> None:
    room, start, indent = max(width, hang + 20), "x" * lead, " " * hang
    expected = wrap(
        text,
        room,
        initial_indent=start,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    assert wrap_words(start, text, hang, width) == (expected or [start])


@pytest.mark.parametrize(("count", "shown"), [(7, 7), (8, 8), (9, 8), (20, 8)])
def test_eight_ids_of_a_block_are_listed(count: int, shown: int) -> None:
    one = sample.joining().findings[0]
    findings = [one._replace(id=f"id.{number}", outcome="fail", disposition="enforced") for number in range(count)]
    text = render([sample.report(*findings)], Style(width=400))
    assert sum(f"id.{number}" in text for number in range(count)) == shown
    assert (f"and {count - shown} more" in text) == (count > shown)
