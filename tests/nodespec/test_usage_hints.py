from __future__ import annotations

import json
from typing import TYPE_CHECKING, Dict, List

import pytest

from nodespec.__main__ import main
from nodespec.author.commands.main import COMMANDS
from nodespec.author.commands.usage_hints import DISK_IMAGES, improve_usage_error, sniff_kind
from nodespec.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

FILES: Dict[str, bytes] = {
    "recording.json": b'{\n"nodespec-facts":1,\n"context":"running"}',
    "report.json": json.dumps({"nodespec": 1, "reports": []}).encode(),
    "waivers.yaml": b"nodespec-waivers: 1\nwaivers: []\n",
    "bare-waivers.yaml": b"# ours\nwaivers: []\n",
    "spec.yaml": b"nodespec: 1\ntitle: a\n",
    "other.yaml": b"a: 1\n",
    "image.tar": b"\0" * 257 + b"ustar" + b"\0" * 250,
    "empty": b"",
}
KINDS = {
    "recording.json": "a recording",
    "report.json": "a stored report",
    "waivers.yaml": "a waiver file",
    "bare-waivers.yaml": "a waiver file",
    "spec.yaml": "a spec",
    "other.yaml": "",
    "image.tar": "an image",
    "empty": "",
    "missing.yaml": "",
    "./registry.example.org/a": "",
    "registry.example.org/a/b:1.2": "an image reference",
    "registry.example.org:5000/a@sha256:" + "0" * 64: "an image reference",
    "docker://docker.io/library/debian:12": "an image reference",
    "kubernetes/1.35": "",
    "root": "an image",
    "folder": "",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_the_kind_of_an_input_is_read_from_its_start(name: str, kind: str) -> None:
    assert sniff_kind(name) == kind


@pytest.mark.parametrize(("kind", "place"), DISK_IMAGES.items())
def test_a_disk_image_is_known_by_its_magic(tmp_path: Path, kind: str, place: object) -> None:
    offset, magic = DISK_IMAGES[kind]
    assert place == (offset, magic)
    (tmp_path / "disk").write_bytes(b"\1" * offset + magic + b"\1" * 600)
    assert sniff_kind(str(tmp_path / "disk")) == kind
    (tmp_path / "disk").write_bytes(b"\1" * offset + magic[:-1])
    assert sniff_kind(str(tmp_path / "disk")) == ""


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("line", "suggestion"),
    [
        ("chekc kubernetes/1.35", "`chekc` is not a command; did you mean `check`?"),
        ("help chekc", "`chekc` is not a command; did you mean `check`?"),
        ("xyzzy", "`xyzzy` is not a command; nodespec help lists the commands"),
        ("kubernetes/1.35", "kubernetes/1.35 is a spec; write nodespec check kubernetes/1.35"),
        ("report.json", "report.json is a stored report; write nodespec report report.json"),
        ("check a --json", "--json is not an option; write -o json"),
        ("check a -q", "-q is not an option; write the exit code alone: >/dev/null"),
        ("check a --format=json", "--format is not an option; write -o FORMAT[=FILE]"),
        ("check a -o yaml", "a report is never YAML; write -o json"),
        ("check a -o report.html", "-o takes a format; for a file write -o html=report.html"),
        ("check a -oreport.xml", "-o takes a format; for a file write -o junit=report.xml"),
        ("check recording.json", "recording.json is a recording; write nodespec check SPEC --facts recording.json"),
        ("lint report.json", "report.json is a stored report; write nodespec report report.json"),
        ("check waivers.yaml", "waivers.yaml is a waiver file; write nodespec check SPEC --waivers waivers.yaml"),
        ("check a --facts report.json", "report.json is a stored report; write nodespec report report.json"),
        (
            "check a --facts=waivers.yaml",
            "waivers.yaml is a waiver file; write nodespec check SPEC --waivers waivers.yaml",
        ),
        ("check a --waivers spec.yaml", "spec.yaml is a spec; write nodespec check spec.yaml"),
        ("report recording.json", "recording.json is a recording; write nodespec check SPEC --facts recording.json"),
        ("verify image.tar", "image.tar is an image; write nodespec check SPEC --image image.tar"),
    ],
)
def test_a_rejected_command_line_gets_the_right_one(line: str, suggestion: str) -> None:
    better = improve_usage_error(line.split(), UsageError("what is wrong"))
    assert f"nodespec: {suggestion}" in better.messages
    assert ("what is wrong" in better.messages) == (line.split(maxsplit=1)[0] in COMMANDS)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "line", ["", "check spec.yaml", "check a --facts recording.json -o json", "--nosuch", "facts os"]
)
def test_a_command_line_without_a_known_error_gets_no_suggestion(line: str) -> None:
    error = UsageError("what is wrong")
    assert improve_usage_error(line.split(), error) is error


@pytest.mark.usefixtures("here")
def test_an_image_in_a_registry_gets_the_commands_that_save_it() -> None:
    line = ["check", "a", "--image", "registry.example.org/a:1"]
    [_, suggestion] = improve_usage_error(line, UsageError("x")).messages
    assert "skopeo copy docker://registry.example.org/a:1 oci-archive:image.tar" in suggestion


def test_the_program_prints_suggestions(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert main(["check", str(here / "report.json")]) == 2
    lines: List[str] = capsys.readouterr().err.splitlines()
    assert lines[-1].endswith(f"write nodespec report {here / 'report.json'}")
