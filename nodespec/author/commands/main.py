"""The command line: every command with its options, and the module that runs it."""

from __future__ import annotations

import sys
from importlib import import_module

from nodespec import parsers
from nodespec.errors import UsageError
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.output import writer

if TYPE_CHECKING:
    import argparse
    from typing import List, Sequence

EPILOG = """\
examples:
  nodespec check kubernetes/1.35                      check this machine
  nodespec check kubernetes/1.35 --set role=control-plane -o text -o html=report.html
  nodespec facts kernel                               print the facts of the kernel that a spec can test
  nodespec explain kubernetes/1.35                    list the requirements of a spec, each with its reason

exit codes of check:
  0 conformant   10 nonconformant   11 indeterminate   2 usage error: arguments, spec or waivers
  74 a report could not be written   70 a defect of nodespec   130 interrupted
  any code but 0 means: do not join
"""


class CommandParser(parsers.Parser):
    """The parser of one command. Its help ends with examples, which are imported only for help."""

    def format_help(self) -> str:
        """Return the help text."""
        from nodespec.author.commands.examples import format_examples  # noqa: PLC0415

        self.epilog = format_examples(self.prog.partition(" ")[2])
        return super().format_help()


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = parsers.Parser(
        prog="nodespec",
        description="Check whether a Linux machine conforms to a spec, for example of a Kubernetes node.",
        epilog=EPILOG,
        formatter_class=parsers.HelpFormatter,
    )
    top.add_argument("--version", action="store_true", help="print the version")
    commands = top.add_subparsers(prog="nodespec", dest="command", metavar="COMMAND", parser_class=CommandParser)
    for name, (summary, arguments) in COMMANDS.items():
        arguments(commands.add_parser(name, help=summary, formatter_class=parsers.HelpFormatter))
    return top


def parse_command_line(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line. If it begins with a command, the parsers of the others are not made."""
    name = argv[0] if argv else ""
    if name not in COMMANDS:
        return make_parser().parse_args(argv)
    command = CommandParser(prog=f"nodespec {name}", formatter_class=parsers.HelpFormatter)
    COMMANDS[name][1](command)
    command.set_defaults(command=name, version=False)
    return command.parse_args(argv[1:])


def _add_check_arguments(check: argparse.ArgumentParser) -> None:
    check.add_argument("spec", nargs="+", metavar="SPEC", help="the name of a spec, or a file")
    _add_param_options(check)
    parsers.add_access_options(check)
    parsers.add_options(check, "judging")
    parsers.add_report_options(check, *writer.list_formats())


def _add_facts_arguments(facts: argparse.ArgumentParser) -> None:
    facts.add_argument(
        "what",
        nargs="*",
        metavar="SPEC|PLACE",
        help="a fact, for example kernel or kernel.config.USER_NS, or a spec (default: all)",
    )
    parsers.add_recording_options(facts)
    _add_param_options(facts)
    parsers.add_access_options(facts)


def _add_explain_arguments(explain: argparse.ArgumentParser) -> None:
    explain.add_argument("what", nargs="?", metavar="SPEC|FACT", help="a spec or a fact (default: all facts)")
    explain.add_argument("id", nargs="?", metavar="ID", help="the id of a requirement of that spec")
    _add_param_options(explain)


def _add_lint_arguments(lint: argparse.ArgumentParser) -> None:
    lint.add_argument("spec", nargs="+", metavar="SPEC", help="the name of a spec, a file, or a directory of files")
    lint.add_argument("--format", choices=("text", "github", "json"), default="text", help="how to print messages")
    lint.add_argument("--waivers", metavar="FILE", help="count the requirements that each glob of these waivers covers")
    _add_param_options(lint)


def _add_bundle_arguments(bundle: argparse.ArgumentParser) -> None:
    bundle.add_argument("spec", nargs="+", metavar="SPEC", help="the name of a spec, or a file")
    bundle.add_argument("-o", dest="output", required=True, metavar="FILE", help="write the bundle to FILE")
    bundle.add_argument("--waivers", metavar="FILE", help="include these waivers in the bundle")
    _add_param_options(bundle)


def _add_schema_arguments(schema: argparse.ArgumentParser) -> None:
    schema.add_argument(
        "name",
        nargs="?",
        default="spec",
        choices=("spec", "facts", "report", "waivers"),
        help="the kind of file (default: spec)",
    )


def _add_report_arguments(report: argparse.ArgumentParser) -> None:
    _add_stored_arguments(report)
    parsers.add_report_options(report, *writer.list_formats())


def _add_stored_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="a report that `-o json` wrote; - reads standard input")


def _add_diff_arguments(diff: argparse.ArgumentParser) -> None:
    diff.add_argument(
        "what",
        nargs="*",
        metavar="A B [SPEC|PLACE]",
        help="A and B: running, at-rest, image:PATH or a recording each; or two reports, or two specs",
    )
    diff.add_argument("--all", action="store_true", help="all rows, and facts that only one side knows")
    _add_param_options(diff)
    parsers.add_diff_access_options(diff)


def _add_gate_arguments(gate: argparse.ArgumentParser) -> None:
    from nodespec.preflight import systemd_unit  # noqa: PLC0415

    actions = gate.add_subparsers(dest="action", metavar="ACTION", parser_class=CommandParser, required=True)
    install = actions.add_parser(
        "install", help="install a bundle and the systemd unit that runs it", formatter_class=parsers.HelpFormatter
    )
    install.add_argument("spec", nargs="+", metavar="SPEC", help="the name of a spec, or a file")
    install.add_argument("--waivers", metavar="FILE", help="include these waivers in the bundle")
    _add_param_options(install)
    systemd_unit.add_install_options(install)
    remove = actions.add_parser(
        "remove", help="remove what `gate install` wrote", formatter_class=parsers.HelpFormatter
    )
    systemd_unit.add_root_option(remove)
    status = actions.add_parser(
        "status",
        help="print what is installed, what it guards, and the result of the last boot",
        formatter_class=parsers.HelpFormatter,
    )
    systemd_unit.add_root_option(status)


def _add_specs_arguments(specs: argparse.ArgumentParser) -> None:
    parsers.add_option(specs, "--specs")


def _add_param_options(command: argparse.ArgumentParser) -> None:
    parsers.add_options(command, "library")


COMMANDS = {
    "check": ("check a host against specs", _add_check_arguments),
    "facts": ("print or record facts of a host", _add_facts_arguments),
    "specs": ("list the specs of the library", _add_specs_arguments),
    "explain": ("explain a spec, a requirement or a fact", _add_explain_arguments),
    "lint": ("report errors in specs, with positions", _add_lint_arguments),
    "bundle": ("write one file that checks specs with Python 3.9 or later alone", _add_bundle_arguments),
    "gate": ("start the kubelet at boot only if the machine conforms", _add_gate_arguments),
    "schema": ("print the JSON Schema of specs, recordings, reports or waivers", _add_schema_arguments),
    "report": ("render a stored report again", _add_report_arguments),
    "verify": ("judge the facts in a stored report again and compare", _add_stored_arguments),
    "diff": ("show what the next boot changes, or how recordings, reports or specs differ", _add_diff_arguments),
}


MODULES = {
    "check": "check",
    "report": "stored",
    "verify": "stored",
    "explain": "explain",
    "bundle": "bundle",
    "lint": "lint",
    "gate": "gate",
    "diff": "diff",
}  # the others answer in `inquiry`


def run(argv: List[str]) -> int:
    """Run one command line and return the exit code."""
    if argv[:1] == ["help"]:
        argv = [*argv[1:], "--help"]
    args = parse_command_line(argv)
    if args.version:
        from nodespec import __version__  # noqa: PLC0415

        print(f"nodespec {__version__}")  # noqa: T201
        return 0
    if not args.command:
        make_parser().print_help(sys.stderr)
        raise UsageError("nodespec: expected a command; nodespec --help lists them")
    module = import_module(f"nodespec.author.commands.{MODULES.get(args.command, 'inquiry')}")
    return cast("int", getattr(module, args.command)(args))
