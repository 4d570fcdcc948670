"""Cases of faults as data: a tree or a recording, a spec, and the verdict that the command line must give.

Each YAML file in this directory and in `tests/requirements`, except `bases.yaml`, is a list of cases. The cases of
`tests/requirements` are requirements that operators write, each on a host that meets it and on one that does not.
Keys of a case:

- `fault`: the fault that the case shows, a short text; `title`: a sentence
- `base`: names of trees in `bases.yaml`, merged below `tree`
- `tree`: a mapping of paths to entries: a text, or a mapping with one of `text`, `hex`, `base64`, `link`, `directory`
  (true) or `remove` (true), and optionally `mode` (an octal text). In a text `{uid}` and `{gid}` own the tree
- `facts`: a recording, a mapping; it replaces the tree
- `access`: `image` (default with a tree), `recording` (default with facts), `live` (this machine)
- `run_as`: a user; the case needs root to become that user
- `args`: further arguments; `spec`: the body of a spec, or the name of one in the library
- `files`: further files beside the spec: a mapping of names to a text, or to a list of parts. A part is a text, or a
  mapping of `text` and `count`, which repeats the text for each `{n}` from 0 on. A name with `{n}` and `count` is
  several files. `{m}` is the number before `{n}`
- `command`: the arguments, instead of `check SPEC`; in it, in `args` and in `spec` `{folder}` is the folder of `files`
- `seconds`: the time that the command may take where it runs in a process of its own
- `exit`: the exit code; `stderr` and `stdout`: a text, or several, that the output contains
- `fixes`: a mapping of finding ids to their fix
- `outcomes`: a mapping of finding ids to outcomes
- `observed`: a mapping of finding ids to what their first part observed: the value, or `absent`, `unknown`, `deferred`
"""

from __future__ import annotations

import base64
import copy
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import yaml

HERE = Path(__file__).parent
REQUIREMENTS = HERE.parent / "requirements"
KEYS = {
    "fault",
    "title",
    "base",
    "tree",
    "facts",
    "access",
    "run_as",
    "args",
    "spec",
    "exit",
    "stderr",
    "outcomes",
    "observed",
    "files",
    "command",
    "seconds",
    "stdout",
    "fixes",
}


class Case(NamedTuple):
    """One case and the file it stands in."""

    file: str
    data: Dict[str, Any]

    @property
    def name(self) -> str:
        """The id of the case in a test report."""
        return f"{self.file}: {self.data['fault']}: {self.data['title']}"


def load_cases() -> Iterator[Case]:
    """All cases of both directories; ValueError names a case with an unknown or a missing key."""
    names = set()
    for path in [*sorted(HERE.glob("*.yaml")), *sorted(REQUIREMENTS.glob("*.yaml"))]:
        if path.name == "bases.yaml":
            continue
        for data in read_yaml(path):
            case = Case(path.stem if path.parent == HERE else f"requirements/{path.stem}", data)
            needed = {"fault", "title", "exit", "command" if "command" in data else "spec"}
            if set(data) - KEYS or not needed <= set(data):
                raise ValueError(f"{path.name}: {data}: keys must be among {sorted(KEYS)}")
            if not ({"outcomes", "stderr", "stdout"} & set(data)):
                raise ValueError(f"{case.name}: neither outcomes nor output are expected")
            if case.name in names:
                raise ValueError(f"{case.name}: duplicate title")
            names.add(case.name)
            yield case


def read_yaml(path: Path) -> Any:  # noqa: ANN401 - what a document holds
    """A document of this directory, read by LibYAML where PyYAML has it."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text("utf-8"), Loader=loader)  # noqa: S506 - either is safe


def load_bases() -> Dict[str, Dict[str, Any]]:
    """The named trees that cases build on."""
    found: Dict[str, Dict[str, Any]] = read_yaml(HERE / "bases.yaml")
    return found


def merge_tree(case: Case, bases: Dict[str, Dict[str, Any]]) -> Dict[str, Any]:
    """The entries of a case's tree: those of its bases, in their order, then its own."""
    merged: Dict[str, Any] = {}
    for name in case.data.get("base", ()):
        merged.update(bases[name])
    merged.update(case.data.get("tree", {}))
    return merged


def write_tree(entries: Dict[str, Any], root: Path) -> None:
    """Write the entries below `root`. Modes of directories are set last."""
    root.mkdir(parents=True, exist_ok=True)
    modes = []
    for name, entry in entries.items():
        path = root / name.lstrip("/")
        if isinstance(entry, str):
            entry = {"text": entry}  # noqa: PLW2901 - the short form of the same
        if entry.get("remove"):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if "link" in entry:
            path.symlink_to(entry["link"])
        elif entry.get("directory"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(read_content(entry))
        if "mode" in entry:
            modes.append((path, int(str(entry["mode"]), 8)))
    for path, mode in reversed(modes):
        path.chmod(mode)


def read_content(entry: Dict[str, Any]) -> bytes:
    """The bytes of a regular file."""
    if "hex" in entry:
        return bytes.fromhex(entry["hex"])
    if "base64" in entry:
        return base64.b64decode(entry["base64"])
    owner = {"{uid}": str(os.geteuid()), "{gid}": str(os.getegid())}  # to whom the files of the tree belong
    return replace_words(str(entry.get("text", "")), owner).encode("utf-8", "surrogateescape")


def write_files(files: Dict[str, Any], folder: Path) -> None:
    """Write the further files of a case."""
    for name, parts in files.items():
        count = parts.pop("count", 1) if isinstance(parts, dict) else 1
        for number in range(count):
            where = {"{n}": str(number), "{m}": str(number - 1)}
            written = "".join(repeat_text(part) for part in (parts if isinstance(parts, list) else [parts]))
            path = folder / replace_words(name, where)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(replace_words(written, where), "utf-8")


def repeat_text(part: Any) -> str:  # noqa: ANN401 - what a document holds
    """The text of one part of a file."""
    if isinstance(part, str):
        return part
    numbers = range(part["count"]) if "count" in part else ()
    return "".join(replace_words(part["text"], {"{n}": str(n), "{m}": str(n - 1)}) for n in numbers) or part["text"]


def replace_words(text: str, words: Dict[str, str]) -> str:
    """The text with its placeholders replaced."""
    for word, value in words.items():
        text = text.replace(word, value)
    return text


# Arguments to exit code, standard output and standard error.
Run = Callable[[Sequence[str]], Tuple[int, str, str]]


class Verdict(NamedTuple):
    """What a program answered, and how that differs from what the case expects."""

    exit: int
    stderr: str
    document: Dict[str, Any]
    differences: List[str]


def judge_case(case: Case, run: Run, folder: Path, bases: Dict[str, Dict[str, Any]]) -> Verdict:
    """Run nodespec on a case. `folder` does not exist and receives the tree, the spec and the recording."""
    data = case.data
    folder.mkdir()
    access = data.get("access", "recording" if "facts" in data else "image")
    asked: List[str] = []
    if access == "image":
        write_tree(merge_tree(case, bases), folder / "tree")
        asked = ["--image", str(folder / "tree")]
    elif access == "recording":
        (folder / "facts.json").write_text(json.dumps(data["facts"]), "utf-8")
        asked = ["--facts", str(folder / "facts.json")]
    write_files(copy.deepcopy(data.get("files", {})), folder)
    spec = data.get("spec", "")
    if not isinstance(spec, str):
        spec = str(folder / "spec.yaml")
        written = {"nodespec": 1, "title": data["title"], **data["spec"]}
        (folder / "spec.yaml").write_text(yaml.safe_dump(written, sort_keys=False), "utf-8")
    if data.get("run_as"):
        for path in (folder, *folder.parents):
            if path.owner() == folder.owner():
                path.chmod(path.stat().st_mode | 0o055)
    command = data.get("command") or ["check", spec, *asked, *data.get("args", ()), "-o", "json"]
    code, stdout, stderr = run([argument.replace("{folder}", str(folder)) for argument in command])
    try:
        document = json.loads(stdout)
    except ValueError:
        document = {}
    return Verdict(code, stderr, document, list(compare(data, code, (stdout, stderr), document)))


def run_program(program: Sequence[str], user: str = "", seconds: float = 120) -> Run:
    """A way to run nodespec: a program in a process of its own, as that user."""
    prefix = ["setpriv", "--reuid", user, "--regid", "nogroup", "--clear-groups"] if user else []

    def run(args: Sequence[str]) -> Tuple[int, str, str]:
        try:
            done = subprocess.run(
                [*prefix, *program, *args],
                capture_output=True,
                text=True,
                errors="backslashreplace",
                check=False,
                timeout=seconds,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )
        except subprocess.TimeoutExpired:
            return -1, "", f"ran longer than {seconds:g} s"
        return done.returncode, done.stdout, done.stderr

    return run


def compare(data: Dict[str, Any], code: int, output: Tuple[str, str], document: Dict[str, Any]) -> Iterator[str]:
    """Say how an answer differs from what a case expects. `output` is standard output and standard error."""
    if code != data["exit"]:
        yield f"exit {code}, expected {data['exit']}: {output[1].strip()[:300]}"
    for stream, text in zip(("stdout", "stderr"), output):
        wanted = data.get(stream, "")
        for one in [wanted] if isinstance(wanted, str) else wanted:
            if one not in text:
                yield f"{stream} {text[:2000]!r} does not contain {one!r}"
    findings = {f["id"]: f for report in document.get("reports", ()) for f in report["findings"]}
    for name, outcome in data.get("outcomes", {}).items():
        got = findings.get(name, {}).get("outcome", "no such finding")
        if got != outcome:
            said = findings.get(name, {}).get("sentence", "")
            yield f"{name}: {got}, expected {outcome}: {said}"
    yield from compare_fixes(data, findings)
    for name, value in data.get("observed", {}).items():
        parts = findings.get(name, {}).get("parts", [])
        seen = parts[0]["observed"] if parts else {"state": "no such finding"}
        got = seen["value"] if seen["state"] == "value" else seen["state"]
        if str(got) != str(value):
            yield f"{name}: observed {got!r}, expected {value!r}: {seen.get('text', '')}"


def compare_fixes(data: Dict[str, Any], findings: Dict[str, Any]) -> Iterator[str]:
    """Say how the fixes differ from what a case expects."""
    for name, fix in data.get("fixes", {}).items():
        got = findings.get(name, {}).get("fix", "no such finding")
        if got != fix:
            yield f"{name}: fix {got!r}, expected {fix!r}"


def remove_folder(folder: Path) -> None:
    """Remove a case's folder, directories without permissions included."""
    for path, names, _ in os.walk(folder):
        for name in names:
            inner = Path(path, name)
            if not inner.is_symlink():
                inner.chmod(0o700)
    shutil.rmtree(folder)
