"""The command line: what can be asked, and which part of the program answers."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import Dict, List, Sequence, cast

from . import options, output
from .mistake import Mistake

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
    """The parser of all commands."""
    top = options.Parser(
        prog="nodespec",
        description="Is this Linux machine fit to join?",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="store_true", help="say the version and end")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=options.Parser)
    check = commands.add_parser("check", help="judge this host by specs")
    check.add_argument("spec", nargs="+", metavar="SPEC", help="a spec of the library, or a file")
    _binding(check)
    options.looking(check)
    options.judging(check)
    options.writing(check, *output.formats())
    facts = commands.add_parser("facts", help="what this host says")
    facts.add_argument("what", nargs="*", metavar="SPEC|PLACE", help="as kernel, kernel.config.USER_NS or a spec")
    options.recording(facts)
    _binding(facts)
    options.looking(facts)
    specs = commands.add_parser("specs", help="the library, one line each")
    _searching(specs)
    explain = commands.add_parser("explain", help="why a requirement is there, how a fact is observed")
    explain.add_argument(
        "what", nargs="?", metavar="SPEC|ID|FACT", help="a spec, a fact, or with SPEC before it a requirement"
    )
    explain.add_argument("id", nargs="?", help="a requirement of the spec")
    _binding(explain)
    lint = commands.add_parser("lint", help="a spec's mistakes, with positions")
    lint.add_argument("spec", nargs="+", metavar="SPEC")
    _binding(lint)
    bundle = commands.add_parser("bundle", help="one file that checks specs wherever there is a Python 3.9")
    bundle.add_argument("spec", nargs="+", metavar="SPEC")
    bundle.add_argument("-o", dest="output", required=True, metavar="FILE")
    bundle.add_argument("--waivers", metavar="FILE", help="waivers that the bundle carries")
    _binding(bundle)
    _guarding(commands.add_parser("gate", help="keep the kubelet of an unfit machine from starting when it boots"))
    schema = commands.add_parser("schema", help="JSON Schema of specs, recordings, reports or waivers")
    schema.add_argument("name", nargs="?", default="spec", choices=("spec", "facts", "report", "waivers"))
    report = commands.add_parser("report", help="render a stored report again")
    report.add_argument("file", help="a report as -o json wrote it; - is standard input")
    options.writing(report, *output.formats())
    verify = commands.add_parser("verify", help="judge again what a stored report embeds, and compare")
    verify.add_argument("file", help="a report as -o json wrote it; - is standard input")
    diff = commands.add_parser("diff", help="what the next boot changes; or what differs in two recordings, reports")
    diff.add_argument(
        "what",
        nargs="*",
        metavar="A B [SPEC|PLACE]",
        help="each of A and B running, at-rest, image:PATH, a recording or a report; behind them, what to look at",
    )
    diff.add_argument("--all", action="store_true", help="every row, and what only one side knows")
    _binding(diff)
    options.comparing(diff)
    return top


def _guarding(gate: argparse.ArgumentParser) -> None:
    from . import unit  # noqa: PLC0415

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
    "check": "check",
    "report": "stored",
    "verify": "stored",
    "explain": "explain",
    "bundle": "bundle",
    "gate": "installing",
    "diff": "comparison",
}  # the others answer in `inquiry`


def run(argv: List[str]) -> int:
    """Answer one command line; the exit code."""
    args = parser().parse_args(argv)
    if args.version:
        from . import __version__  # noqa: PLC0415

        print(f"nodespec {__version__}")  # noqa: T201
        return 0
    if not args.command:
        parser().print_help(sys.stderr)
        raise Mistake("nodespec: a command is wanted")
    module = import_module(f"nodespec.{MODULES.get(args.command, 'inquiry')}")
    return cast("int", getattr(module, args.command)(args))
