"""Does the JUnit report fit junit-10.xsd, the schema that Jenkins' xunit plugin holds reports to?

    python tests/stages/junit_schema.py CACHE

The schema is taken from pytest's source distribution, which tests its own reports by it, and which is fetched with pip
into the folder CACHE, unless it is there. The exit status is 1 where a report does not fit, or where the schema takes
one that was spoilt.
"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

import xmlschema
from debian import fetched

sys.path.append(str(Path(__file__).parents[1] / "reports"))

import sample

from nodespec.model.report import Style
from nodespec.reports.junit import render

RELEASE = "9.0.2"
MEMBER = f"pytest-{RELEASE}/testing/example_scripts/junit-10.xsd"
CASES = {
    "every outcome": [sample.every()],
    "before a join": [sample.joining()],
    "causes": [sample.lacking()],
    "at rest": [sample.at_rest()],
    "hostile": [sample.hostile()],
    "several hosts": sample.several(),
    "no findings": [sample.fit()._replace(findings=())],
    "no host": [],
}
SPOILT = (("<failure type=", "<failure kind="), (' tests="', ' test="'), ("<property name=", "<property key="))


def main(cache: Path) -> int:
    """The exit status; what was validated is printed."""
    rules = xmlschema.XMLSchema(schema(cache))
    lines = []
    for case, reports in CASES.items():
        mistakes = [str(error.reason) for error in rules.iter_errors(render(reports, Style()))]
        lines += [f"{case}: {mistake}" for mistake in mistakes]
    whole = render([sample.every()], Style())
    for right, wrong in SPOILT:
        spoilt = whole.replace(right, wrong)
        if spoilt == whole or rules.is_valid(spoilt):
            lines.append(f"the schema accepts {wrong}")
    sys.stdout.write("\n".join([*lines, f"{len(CASES)} reports by junit-10.xsd: {len(lines)} errors", ""]))
    return int(bool(lines))


def schema(cache: Path) -> str:
    """The schema's text."""
    archive = cache / f"pytest-{RELEASE}.tar.gz"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "pytest"]
        fetched(*pip, "--dest", str(cache), f"pytest=={RELEASE}")
    with tarfile.open(archive) as tar:
        file = tar.extractfile(MEMBER)
        return file.read().decode() if file else ""


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: junit_schema.py CACHE")
    sys.exit(main(Path(sys.argv[1])))
