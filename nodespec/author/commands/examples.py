"""Examples of the command line: shown by `--help` of a command and in docs/cli.md, one for every option at least.

Examples of the options that the program and a bundle share are in the table of `parsers`.
"""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING
from nodespec.parsers import TEXTS

if TYPE_CHECKING:
    from typing import Tuple


def _list_examples(command: str) -> Tuple[Tuple[str, str], ...]:
    """Return the examples of a command in the table of options."""
    examples = [text.examples[command] for text in TEXTS.values() if command in text.examples]
    return tuple((f"nodespec {command} {line}", meaning) for line, meaning in examples)


EXAMPLES = {
    "check": (
        ("nodespec check kubernetes/1.35", "check this machine"),
        ("nodespec check container-host ./node.yaml", "check it against two specs, one of them a file"),
        *_list_examples("check"),
    ),
    "facts": (
        ("nodespec facts", "print all facts of this machine"),
        ("nodespec facts os kernel.config.USER_NS", "print some facts"),
        ("nodespec facts sysctl --all", "print every row of a table"),
        ("nodespec facts kubernetes/1.35 -o node.json", "record the facts that a spec names"),
        ("nodespec facts site/edge --specs /srv/specs --set zone=a", "print the facts that a spec of a site names"),
        ("nodespec facts --all -o node.json.gz --reveal", "record everything, values that may be secret included"),
        *_list_examples("facts"),
    ),
    "specs": (
        ("nodespec specs", "list the specs of the library"),
        ("nodespec specs --specs /srv/specs", "list them with those of a site"),
    ),
    "explain": (
        ("nodespec explain", "print the manual of all facts"),
        ("nodespec explain cgroups.version", "print the manual page of a fact"),
        ("nodespec explain kubernetes/1.35 --set role=control-plane", "list the requirements of a spec"),
        ("nodespec explain kubernetes/1.35 cgroups.version", "explain one requirement of a spec"),
        ("nodespec explain container-runtime", "explain an id of a report, with its result on this machine"),
        ("nodespec explain site/edge --specs /srv/specs", "explain a spec of a site"),
    ),
    "lint": (
        ("nodespec lint node.yaml", "check a spec file for errors"),
        ("nodespec lint specs/", "check all YAML files of a directory"),
        ("nodespec lint specs/ --format github", "print annotations of a GitHub workflow; json for other programs"),
        ("nodespec lint node.yaml --waivers waivers.yaml", "and how many requirements each waiver covers"),
        ("nodespec lint node.yaml --set stage=image --specs /srv/specs", "with a param, and specs of a site"),
    ),
    "bundle": (
        ("nodespec bundle kubernetes/1.35 -o preflight", "write one file, for `python3 -I preflight check`"),
        (
            "nodespec bundle kubernetes/1.35 --set stage=booting --waivers waivers.yaml -o preflight",
            "include a param and waivers",
        ),
        ("nodespec bundle site/edge --specs /srv/specs -o preflight", "bundle a spec of a site"),
    ),
    "gate install": (
        ("nodespec gate install kubernetes/1.35 --set stage=booting", "install the gate on this machine"),
        ("nodespec gate install kubernetes/1.35 --set stage=booting --print", "only print the systemd units"),
        ("nodespec gate install kubernetes/1.35 --set stage=booting --into rootfs", "install it into an image"),
        (
            "nodespec gate install site/edge --specs /srv/specs --unit k3s.service --wait 120 --strict",
            "guard another unit",
        ),
        ("nodespec gate install kubernetes/1.35 --waivers waivers.yaml", "include waivers"),
    ),
    "gate remove": (
        ("nodespec gate remove", "remove the gate from this machine"),
        ("nodespec gate remove --into rootfs", "remove it from an image"),
    ),
    "gate status": (
        ("nodespec gate status", "print what is installed, what it guards, and the result of the last boot"),
        ("nodespec gate status --into rootfs", "print what is installed in an image"),
    ),
    "schema": (
        ("nodespec schema > spec.schema.json", "write the schema of specs, for an editor"),
        ("nodespec schema report", "print the schema of JSON reports"),
    ),
    "report": (
        ("nodespec report report.json", "print a stored report as text"),
        ("nodespec report report.json -o html=report.html --all", "render it as HTML"),
    ),
    "verify": (("nodespec verify report.json", "compare a report with the facts that it contains"),),
    "diff": (
        ("nodespec diff", "show what the next boot of this machine changes"),
        ("nodespec diff running at-rest sysctl --all", "compare the sysctls now and after a reboot, all of them"),
        ("nodespec diff monday.json friday.json", "compare two recordings, or two reports"),
        ("nodespec diff container-host kubernetes/1.35 --set role=worker", "show what the second spec adds"),
        ("nodespec diff site/old site/new --specs /srv/specs", "compare two specs of a site"),
        ("nodespec diff image:a.tar image:b.tar os --platform linux/arm64", "compare two container images"),
        ("nodespec diff running node.json --root /host --deadline 60", "compare the host at /host with a recording"),
    ),
}


def format_examples(command: str) -> str:
    """Return the examples of a command as the end of its `--help`."""
    examples = EXAMPLES.get(command, ())
    return "\n".join(["examples:", *(f"  {line}\n      {meaning}" for line, meaning in examples)]) if examples else ""
