"""The command line: what can be asked, and which part of the program answers."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Dict, List, Sequence, cast

from nodespec import options
from nodespec.errors import Mistake
from nodespec.output import writer as output

if TYPE_CHECKING:
    import argparse

EPILOG = """\
examples:
  nodespec check kubernetes/1.35                      is this machine fit to join?
  nodespec check kubernetes/1.35 --set role=control-plane -o text -o html=report.html
  nodespec facts kernel                               what a spec may say of the kernel, and what this host says
  nodespec explain kubernetes/1.35                    what the spec asks, and why

exit codes of check:
  0 conformant   10 nonconformant   11 indeterminate   2 wrong arguments, spec or waivers
  74 a report could not be written   70 a defect of nodespec   130 interrupted
  anything but 0 means: do not join
"""


def parser() -> argparse.ArgumentParser:
    """The parser of all commands, for who asks what there are."""
    top = options.Parser(
        prog="nodespec",
        description="Is this Linux machine fit to join?",
        epilog=EPILOG,
        formatter_class=options.Form,
    )
    top.add_argument("--version", action="store_true", help="say the version and end")
    commands = top.add_subparsers(prog="nodespec", dest="command", metavar="COMMAND", parser_class=options.Parser)
    for name, (said, arguments) in COMMANDS.items():
        arguments(commands.add_parser(name, help=said, formatter_class=options.Form))
    return top


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """What a command line asks. Where it begins with a command, as almost all do, the others are not made ready."""
    name = argv[0] if argv else ""
    if name not in COMMANDS:
        return parser().parse_args(argv)
    command = options.Parser(prog=f"nodespec {name}", formatter_class=options.Form)
    COMMANDS[name][1](command)
    command.set_defaults(command=name, version=False)
    return command.parse_args(argv[1:])


def _check(check: argparse.ArgumentParser) -> None:
    check.add_argument("spec", nargs="+", metavar="SPEC", help="a spec of the library, or a file")
    _binding(check)
    options.looking(check)
    options.judging(check)
    options.writing(check, *output.formats())


def _facts(facts: argparse.ArgumentParser) -> None:
    facts.add_argument("what", nargs="*", metavar="SPEC|PLACE", help="as kernel, kernel.config.USER_NS or a spec")
    options.recording(facts)
    _binding(facts)
    options.looking(facts)


def _explain(explain: argparse.ArgumentParser) -> None:
    explain.add_argument(
        "what", nargs="?", metavar="SPEC|ID|FACT", help="a spec, a fact, or with SPEC before it a requirement"
    )
    explain.add_argument("id", nargs="?", help="a requirement of the spec")
    _binding(explain)


def _lint(lint: argparse.ArgumentParser) -> None:
    lint.add_argument("spec", nargs="+", metavar="SPEC")
    _binding(lint)


def _bundle(bundle: argparse.ArgumentParser) -> None:
    bundle.add_argument("spec", nargs="+", metavar="SPEC")
    bundle.add_argument("-o", dest="output", required=True, metavar="FILE")
    bundle.add_argument("--waivers", metavar="FILE", help="waivers that the bundle carries")
    _binding(bundle)


def _schema(schema: argparse.ArgumentParser) -> None:
    schema.add_argument("name", nargs="?", default="spec", choices=("spec", "facts", "report", "waivers"))


def _report(report: argparse.ArgumentParser) -> None:
    _stored(report)
    options.writing(report, *output.formats())


def _stored(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", help="a report as -o json wrote it; - is standard input")


def _diff(diff: argparse.ArgumentParser) -> None:
    diff.add_argument(
        "what",
        nargs="*",
        metavar="A B [SPEC|PLACE]",
        help="each of A and B running, at-rest, image:PATH or a recording; or both reports, or specs",
    )
    diff.add_argument("--all", action="store_true", help="every row, and what only one side knows")
    _binding(diff)
    options.comparing(diff)


def _gate(gate: argparse.ArgumentParser) -> None:
    from nodespec.preflight import systemd_unit as unit  # noqa: PLC0415

    actions = gate.add_subparsers(dest="action", metavar="ACTION", parser_class=options.Parser, required=True)
    install = actions.add_parser("install", help="write a bundle, and the systemd unit that runs it")
    install.add_argument("spec", nargs="+", metavar="SPEC")
    install.add_argument("--waivers", metavar="FILE", help="waivers that the bundle carries")
    _binding(install)
    unit.asked(install)
    unit.placed(actions.add_parser("remove", help="remove what install wrote"))


def _searching(command: argparse.ArgumentParser) -> None:
    command.add_argument("--specs", action="append", default=[], metavar="DIR", help="search specs here first")


def _binding(command: argparse.ArgumentParser) -> None:
    _searching(command)
    command.add_argument("--set", action="append", default=[], metavar="K=V", help="set a param of the spec")


COMMANDS = {
    "check": ("judge this host by specs", _check),
    "facts": ("what this host says", _facts),
    "specs": ("the library, one line each", _searching),
    "explain": ("why a requirement is there, how a fact is observed", _explain),
    "lint": ("a spec's mistakes, with positions", _lint),
    "bundle": ("one file that checks specs wherever there is a Python 3.9", _bundle),
    "gate": ("keep the kubelet of an unfit machine from starting when it boots", _gate),
    "schema": ("JSON Schema of specs, recordings, reports or waivers", _schema),
    "report": ("render a stored report again", _report),
    "verify": ("judge again what a stored report embeds, and compare", _stored),
    "diff": ("what the next boot changes; how recordings, reports or specs differ", _diff),
}


def bindings(said: Sequence[str]) -> Dict[str, str]:
    """The params of `--set K=V`."""
    pairs: Dict[str, str] = {}
    for one in said:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise Mistake(f"--set {one}: K=V is wanted")
        if pairs.setdefault(name, value) != value:
            raise Mistake(f"--set {name}: set twice")
    return pairs


MODULES = {
    "check": "commands.check",
    "report": "commands.stored",
    "verify": "commands.stored",
    "explain": "commands.explain",
    "bundle": "bundle.build",
    "gate": "commands.gate",
    "diff": "commands.diff",
}  # the others answer in `inquiry`


def run(argv: List[str]) -> int:
    """Answer one command line; the exit code."""
    args = parsed(argv)
    if args.version:
        from nodespec import __version__  # noqa: PLC0415

        print(f"nodespec {__version__}")  # noqa: T201
        return 0
    if not args.command:
        parser().print_help(sys.stderr)
        raise Mistake("nodespec: a command is wanted")
    module = import_module(f"nodespec.author.{MODULES.get(args.command, 'commands.inquiry')}")
    return cast("int", getattr(module, args.command)(args))
