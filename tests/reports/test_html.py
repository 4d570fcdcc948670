from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Set, Tuple
from urllib.parse import unquote

import pytest
import sample
from hypothesis import given, settings
from hypothesis import strategies as st

import nodespec
from nodespec.escape import escape_line
from nodespec.model.observation import Evidence
from nodespec.model.report import DISPOSITIONS, OUTCOMES, Observed, Part, Report, Style
from nodespec.reports.html import render

VOID = {"meta", "link", "input", "rect"}
OURS = {
    *("html", "head", "meta", "title", "link", "style", "body", "header", "main", "article", "section", "footer"),
    *("h1", "h2", "h3", "p", "ul", "ol", "li", "dl", "dt", "dd", "div", "span", "strong", "b", "em", "code", "a"),
    *("table", "thead", "tbody", "tr", "th", "td"),
    *("details", "summary", "svg", "rect", "label", "input", "button", "script"),
}
PLACES = {
    "fail.enforced": "fail",
    "unknown.enforced": "unknown",
    "fail.advisory": "warning",
    "unknown.advisory": "warning",
    "fail.waived": "waived",
    "unknown.waived": "waived",
    **{f"deferred.{one}": "deferred" for one in ("enforced", "advisory", "waived")},
    **{f"not-applicable.{one}": "not-applicable" for one in ("enforced", "advisory", "waived")},
    **{f"pass.{one}": "pass" for one in ("enforced", "advisory", "waived")},
    **{f"skipped.{one}": "skipped" for one in DISPOSITIONS},
    **{f"{one}.skipped": "skipped" for one in OUTCOMES},
}
Attributes = Dict[str, Optional[str]]


class Page(HTMLParser):
    """What a browser would make of a rendered report: its elements, what stands in each, and where its links lead."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: List[Tuple[str, Attributes]] = []
        self.path: List[int] = []  # the elements that are open
        self.texts: Dict[int, str] = {}  # what stands in an element, at any depth
        self.within: Dict[int, Tuple[int, ...]] = {}
        self.feed(html)
        assert self.path == []

    def handle_starttag(self, tag: str, attrs: List[Tuple[str, Optional[str]]]) -> None:
        number = len(self.elements)
        self.elements.append((tag, dict(attrs)))
        self.within[number] = tuple(self.path)
        self.texts[number] = ""
        if tag not in VOID:
            self.path.append(number)

    def handle_startendtag(self, tag: str, attrs: List[Tuple[str, Optional[str]]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.path.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for number in self.path:
            self.texts[number] += data

    def values(self, name: str) -> List[str]:
        return [str(attributes[name]) for _, attributes in self.elements if name in attributes]

    def all(self, tag: str = "", **wanted: str) -> List[int]:
        """The elements of that tag, whose attributes have these values; a class is one of several."""
        names = {"class_": "class", "id_": "id"}
        return [
            number
            for number, (found, attributes) in enumerate(self.elements)
            if tag in ("", found)
            and all(
                value in (attributes.get("class") or "").split()
                if key == "class_"
                else attributes.get(names.get(key, key)) == value
                for key, value in wanted.items()
            )
        ]

    def text(self, tag: str = "", **wanted: str) -> str:
        """What the only such element says, blanks folded."""
        [number] = self.all(tag, **wanted)
        return " ".join(self.texts[number].split())

    def classes(self, number: int) -> Set[str]:
        return set((self.elements[number][1].get("class") or "").split())


def page(*reports: Report) -> Page:
    return Page(render(reports, Style()))


def test_every_outcome_of_every_disposition_stands_once_in_its_section() -> None:
    assert set(PLACES) == {f"{outcome}.{disposition}" for outcome in OUTCOMES for disposition in DISPOSITIONS}
    found = page(sample.every())
    assert len(found.all("details", class_="finding")) == len(PLACES)
    for name, section in PLACES.items():
        [number] = found.all("details", id_=name)
        outcome, disposition = name.split(".")
        attributes = found.elements[number][1]
        assert (attributes["data-outcome"], attributes["data-disposition"]) == (outcome, disposition)
        [around] = [above for above in found.within[number] if found.elements[above][0] == "section"]
        assert section in found.classes(around)
        assert found.texts[number].split()[0] == outcome
        assert re.search(rf"(required|recommended), {disposition}\b", found.texts[number])


def test_the_buttons_count_what_they_filter() -> None:
    html = render([sample.joining()], Style())
    buttons = re.findall(r'value="([\w-]+)">\1 <b>(\d+)</b>', html)
    assert buttons == [
        ("fail", "8"),
        ("unknown", "3"),
        ("pass", "40"),
        ("enforced", "46"),
        ("advisory", "4"),
        ("waived", "1"),
    ]


def test_a_section_counts_its_findings() -> None:
    found = page(sample.joining())
    counts = [found.texts[number] for number in found.all("span", class_="count")]
    assert counts == ["3", "3", "4", "1", "40", "1"]  # the last are the waivers


@pytest.mark.parametrize(
    ("report", "conclusion", "counted", "code"),
    [
        (sample.fit(), "conformant", "all pass; 3 requirements", "exit 0: fit to join"),
        (
            sample.joining(),
            "nonconformant",
            "3 fail, 3 unknown, 4 warnings, 1 waived; 51 requirements",
            "exit 10: do not join",
        ),
        (sample.hidden(), "indeterminate", "34 unknown; 35 requirements", "exit 11: do not join: too little is known"),
        (
            sample.at_rest(),
            "conformant at rest",
            "2 deferred; 4 requirements",
            "exit 0: fit at rest; deferred requirements need the running machine",
        ),
    ],
)
def test_the_conclusion_stands_first_with_its_counts(report: Report, conclusion: str, counted: str, code: str) -> None:
    found = page(report)
    assert found.text("p", class_="conclusion") == conclusion
    assert found.text("p", class_="counted") == counted
    assert found.text("p", class_="exit") == code
    assert found.text("title") == f"{report.conclusion}: {report.host.name}, kubernetes/1.35"
    assert found.all("div", class_="verdict")[0] < found.all("section")[0]


def test_the_head_names_machine_specs_tool_and_parameters() -> None:
    report = sample.every()._replace(strict=True, host=sample.HOST._replace(container="docker"))
    text = page(report).text("main")
    host, wanted = (
        report.host,
        [report.time, report.tool, "running, live", "recommendations are enforced", *report.notices],
    )
    wanted += [host.name, host.id, host.os, host.kernel, host.arch, host.container, host.user]
    for spec in report.specs:
        wanted += [spec.name, spec.title, spec.digest, *spec.sources, *spec.extends, *spec.drops]
    wanted += [f"{param.name} {param.value} {param.source} {param.why}" for param in report.params]
    wanted += ["18 of 24 requirements were selected", "kernelSpec: no version of 3.x can be met"]
    assert [one for one in wanted if one not in text] == []


def test_doors_are_named_as_on_the_command_line() -> None:
    assert "at rest, --image debian-12.raw" in page(sample.at_rest()).text("main")


def test_a_finding_is_believed_by_itself() -> None:
    parts = (
        Part("a.b", ">=2", Observed("value", "1", value=1), (Evidence("/proc/a", 7), Evidence("/proc/b")), "fail"),
        Part("a.c", "x", Observed("unknown", "no /sys", reason="hidden", look="mount /sys"), (), "unknown"),
        Part("a.d", "y", Observed("absent", "no such a"), (Evidence("/etc/a", 3, inferred=True),), "fail"),
    )
    finding = sample.finding("unknown", name="rule")._replace(
        fix="set `a.b` to 2", why="because", parts=parts, source=("s:1:2", "t:3:4")
    )
    text = page(sample.report(finding)).text("details", id_="rule")
    for words in (
        "unknown rule required, enforced wanted 1, not known: /proc/config.gz: permission denied",
        "fail a.b Expected >=2 Observed 1 Evidence /proc/a:7 /proc/b",
        "unknown a.c Expected x Observed no /sys hidden",
        "fail a.d Expected y Observed no such a Evidence /etc/a:3 inferred",
        "Why because",
        "Hint mount /sys",
        "Fix set a.b to 2",
        "See https://kubernetes.io/docs/setup/",
        "Source s:1:2, t:3:4",
    ):
        assert words in text


def test_a_plain_finding_names_its_fact_only_where_its_id_does_not() -> None:
    plain = sample.finding("fail", name="kernel.arch")
    [part] = plain.parts
    within = plain._replace(id="rule.kernel.arch", parts=(part,))
    idle = within._replace(id="idle.kernel.arch", outcome="not-applicable", parts=(part,))
    found = page(sample.report(plain, within, idle))
    assert "Fact" not in found.text("details", id_="kernel.arch")
    assert "Fact kernel.arch Expected" in found.text("details", id_="rule.kernel.arch")
    assert "Condition kernel.arch Expected" in found.text("details", id_="idle.kernel.arch")


def test_what_was_not_met_is_open_and_what_was_is_folded() -> None:
    found = page(sample.joining())
    opened = {
        str(found.elements[number][1]["id"])
        for number in found.all("details", class_="finding")
        if "open" in found.elements[number][1]
    }
    assert opened == {"cgroups.version", "sysctl.net.ipv4.ip_forward", "container-runtime"}
    assert found.text("details", class_="fold").startswith("List 40 pass kernel.config.OPTION_0")


def test_findings_with_one_cause_stand_under_it() -> None:
    found = page(sample.hidden())
    first, second = found.all("div", class_="cause")
    assert "31 unknown with the same cause: /proc/config.gz: permission denied" in found.texts[first]
    assert "2 unknown with the same cause: /run/containerd/containerd.sock: permission denied" in found.texts[second]
    assert "run as root" in found.texts[first]
    assert "cgroups.delegated" not in found.texts[first] + found.texts[second]


def test_every_waiver_says_what_became_of_it() -> None:
    found = page(sample.every())
    for waiver in sample.WAIVERS:
        text = found.text("li", class_=waiver.state)
        assert [
            one
            for one in (*waiver.ids, *waiver.hosts, waiver.reason, waiver.owner, waiver.expires, waiver.source)
            if one not in text
        ] == []
    assert "41 days left" in found.text("li", class_="valid")
    assert "144 days ago" in found.text("li", class_="expired")
    waived = found.text("details", id_="fail.waived")
    assert "required, waived until 2026-12-31, 41 days left" in waived
    assert "Waived until 2026-12-31, 41 days left: replaced in May (ann@example.org, w.yaml:2:3)" in waived


def test_links_lead_to_the_web_or_to_what_is_on_the_page() -> None:
    for report in ([sample.every()], sample.several(), sample.fleet(), [sample.every()] * 2, [sample.hostile()]):
        found = Page(render(report, Style()))
        ids = found.values("id")
        assert len(ids) == len(set(ids))
        for tag, attributes in found.elements:
            target = str(attributes.get("href", "#"))
            if target.startswith("http"):
                assert (tag, attributes["rel"]) == ("a", "noreferrer noopener")
            elif tag == "a" and target != "#":
                assert unquote(target[1:]) in ids
    assert "https://kubernetes.io/docs/setup/" in page(sample.every()).values("href")


@pytest.mark.parametrize(
    "see",
    ["javascript:alert(1)", "http://a b", "ftp://example.org", "data:text/html,x", "https://é.org", " https://a.org"],
)
def test_what_is_no_address_of_the_web_is_no_link(see: str) -> None:
    found = page(sample.report(sample.finding("fail")._replace(see=see)))
    assert f"See {escape_line(see).strip()}" in found.text("details", id_="fail.enforced")
    assert [one for one in found.values("href") if not one.startswith(("#", "data:image/svg+xml,"))] == []


def test_hostile_text_is_shown_and_is_nothing_else() -> None:
    found = page(sample.hostile())
    _harmless(found)
    words = " ".join(escape_line(" ".join(sample.HOSTILE)).split())
    findings = found.all("details", class_="finding")
    assert len(findings) == len(sample.hostile().findings)
    for number in findings:
        # id, sentence, expected, evidence, see, source; in why and fix a pair of backticks is code
        assert " ".join(found.texts[number].split()).count(words) >= 6
    assert found.text("main").count(words) > 9 * len(findings)


@pytest.mark.parametrize("words", [*sample.HOSTILE, "{{ 7 * 7 }}{% raw %}{# x #}", "x" * 5000, "</style></script><b>"])
def test_each_kind_of_hostile_text_is_shown_as_it_is(words: str) -> None:
    found = page(sample.report(sample.finding("fail", words=words, name=words))._replace(notices=(words,)))
    _harmless(found)
    assert found.text("main").count(" ".join(escape_line(words).split())) >= 8


@given(
    st.lists(
        st.text(st.characters() | st.sampled_from("<>&\"'`{}%#=/ \n\0"), min_size=1, max_size=30),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=15, deadline=None)
def test_no_text_is_markup(texts: List[str]) -> None:
    _harmless(
        page(sample.report(*(sample.finding("fail", name=f"n{n}.{one}", words=one) for n, one in enumerate(texts))))
    )


def _harmless(found: Page) -> None:
    assert {tag for tag, _ in found.elements} <= OURS
    assert [len(found.all(tag)) for tag in ("script", "style", "title", "h1", "main", "meta")] == [1, 1, 1, 1, 1, 5]
    names = {name for _, attributes in found.elements for name in attributes}
    assert [
        name for name in names if name.startswith("on") or name in {"src", "style", "srcdoc", "action", "background"}
    ] == []
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", found.html)


def test_the_page_asks_nothing_of_a_network_and_names_what_it_runs() -> None:
    found = page(sample.every())
    policy = next(str(attributes["content"]) for _, attributes in found.elements if attributes.get("http-equiv"))
    said = dict(one.strip().split(" ", 1) for one in policy.split(";"))
    assert said == {
        "default-src": "'none'",
        "style-src": _hash(_inline(found.html, "style")),
        "script-src": _hash(_inline(found.html, "script")),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not re.search(r"url\(|@import|https?:", _inline(found.html, "style") + _inline(found.html, "script"))
    loaded = [(tag, attributes) for tag, attributes in found.elements if tag == "link"]
    assert [attributes["rel"] for _, attributes in loaded] == ["icon"]
    assert str(loaded[0][1]["href"]).startswith("data:")


def _inline(html: str, tag: str) -> str:
    return html.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def test_without_scripts_only_the_filter_is_hidden() -> None:
    found = page(sample.every())
    hidden = [number for number, (_, attributes) in enumerate(found.elements) if "hidden" in attributes]
    assert [found.elements[number][0] for number in hidden] == ["div", "button"]
    assert found.classes(hidden[0]) == {"row", "tools"}
    assert found.within[hidden[1]][: len(found.within[hidden[0]])] == found.within[hidden[0]]


def test_landmarks_headings_and_what_changes_are_announced() -> None:
    for reports, headings in (([sample.every()], {"h1", "h2"}), (sample.several(), {"h1", "h2", "h3"})):
        found = Page(render(reports, Style()))
        assert found.elements[0] == ("html", {"lang": "en"})
        assert [len(found.all(tag)) for tag in ("main", "footer", "h1")] == [1, 1, 1]
        assert {tag for tag, _ in found.elements if re.fullmatch(r"h\d", tag)} == headings
        assert found.elements[found.all(role="status")[0]][1]["aria-live"] == "polite"
        assert set(found.values("aria-labelledby")) <= set(found.values("id"))
        assert found.values("for") == ["_search"]


def test_several_hosts_are_told_first_and_linked() -> None:
    reports = sample.several()
    found = Page(render(reports, Style()))
    assert found.text("h1") == "3 hosts"
    assert found.text("title") == "nonconformant: 3 hosts"
    assert "nonconformant 1 conformant, 1 nonconformant, 1 indeterminate exit 10: do not join" in found.text(
        "header", class_="hosts"
    )
    index = found.text("ol", class_="index")
    for report in reports:
        conclusion, _, counted = report.headline.partition(": ")
        assert f"{report.host.name} {conclusion} {counted}" in index
    assert [found.elements[number][1]["id"] for number in found.all("article")] == ["node-1", "node-17", "node-18"]
    assert "node-18/cgroups.delegated" in found.values("id")


def test_what_several_hosts_come_to_together_stands_on_the_page() -> None:
    found = Page(render(sample.fleet(), Style()))
    rows = [" ".join(found.texts[number].split()) for number in found.all("tr")]
    assert rows[:3] == [
        "Host kubernetes/1.35 ours",
        "node-00 conformant conformant",
        "node-01 3 fail, 3 unknown 1 fail",
    ]
    assert len(rows) == 13
    hits = [" ".join(found.texts[number].split()) for number in found.all("li", class_="hit")]
    assert "fail 4 of 12 hosts Requirements cgroups.version Hosts node-01, node-04, node-07, node-10" in hits
    assert any("34 more" not in hit and "and 26 more" in hit and "Hint run as root" in hit for hit in hits)
    shared, differences = (_section(found, name) for name in ("_shared", "_differences"))
    assert "machine-id it must be unique, and a cloned machine keeps it" in shared
    assert f"Hosts node-00, node-10 Value {'0' * 32}" in shared
    assert "runtime.containerd.version 1.7.24 node-00, node-01" in differences
    assert "2.1.5 node-09, node-10, node-11" in differences
    assert "6.12.9-amd64 node-00, node-04, node-08" in differences


def _section(found: Page, name: str) -> str:
    [number] = [one for one in found.all("section") if found.elements[one][1].get("aria-labelledby") == name]
    return " ".join(found.texts[number].split())


def test_what_hosts_share_is_shown_and_is_nothing_else() -> None:
    words = "<script>alert(1)</script>\u202e"
    hostile = [
        one._replace(host=one.host._replace(name=f"{words}{at % 2}", os=words)) for at, one in enumerate(sample.fleet())
    ]
    found = Page(render(hostile, Style()))
    _harmless(found)
    assert escape_line(words) in _section(found, "_shared")


def test_one_host_has_nothing_together() -> None:
    found = page(sample.fleet()[1])
    assert not found.all("table")
    assert not found.all("li", class_="hit")


def test_hosts_of_one_name_and_ids_with_blanks_are_told_apart() -> None:
    report = sample.report(sample.finding("fail", name="exec.kubelet --version"))
    ids = Page(render([report, report, report._replace(host=sample.HOST._replace(name=""))], Style())).values("id")
    for wanted in ("node-17/exec.kubelet_--version", "node-17~2/exec.kubelet_--version", "host/exec.kubelet_--version"):
        assert wanted in ids


def test_no_host_and_no_finding_are_reports_too() -> None:
    assert "no host was judged" in page().text("main")
    assert "Machine" in page(sample.report()).text("main")


def test_a_waiver_that_is_not_there_is_no_mistake() -> None:
    report = sample.report(sample.finding("fail", "waived", waiver=3), sample.finding("unknown", "waived"))
    assert "required, waived" in page(report).text("details", id_="fail.waived")


def run(code: str, path: Sequence[Path]) -> str:
    command = [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {[str(one) for one in path]!r}; {code}"]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout


def test_jinja_is_imported_only_to_render() -> None:
    top = Path(nodespec.__file__).parents[1]
    code = "import nodespec.reports.html as h; f = lambda: print('jinja2' in sys.modules); f(); h.render([], None); f()"
    assert run(code, [top]).split() == ["False", "True"]


def test_the_template_is_found_in_a_zip(tmp_path: Path) -> None:
    package = Path(nodespec.__file__).parent
    archive = tmp_path / "nodespec.zip"
    files: Mapping[str, Path] = {
        **{f"nodespec/{one.name}": one for one in package.glob("*.py")},
        **{f"nodespec/reports/{one.name}": one for one in (package / "reports").glob("*.py")},
        **{f"nodespec/reports/templates/{one.name}": one for one in (package / "reports/templates").iterdir()},
    }
    with zipfile.ZipFile(archive, "w") as packed:
        for name, file in files.items():
            packed.write(file, name)
    assert run("import nodespec.reports.html as h; print(h.__file__, h.render([], None))", [archive]).startswith(
        str(archive)
    )
