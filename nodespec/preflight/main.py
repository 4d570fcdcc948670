"""The program of a bundle, with its plan and waivers. It needs only the standard library."""

from __future__ import annotations

from nodespec import __version__
from nodespec.entry import run_guarded
from nodespec.errors import UsageError
from nodespec.facts import declaration
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model import plan
from nodespec.model.plan import Plan
from nodespec.model.report import Waiver
from nodespec.model.report_json import decode_waiver
from nodespec.options import parse_check
from nodespec.output import writer
from nodespec.preflight.arguments import read_judge_options, read_outputs, read_record_options, read_target

if TYPE_CHECKING:
    import argparse
    from typing import Dict, List, Mapping, Tuple

    from nodespec.model.json_types import Json


def main(carried: Mapping[str, Json], argv: List[str]) -> int:
    """Run one command line with the `plan` and `waivers` of the bundle; return the exit code."""
    return run_guarded(lambda args: _run_bundle_command(carried, args), argv)


def _run_bundle_command(carried: Mapping[str, Json], argv: List[str]) -> int:
    bundled = plan.decode_plan(cast("Dict[str, Json]", carried["plan"]))
    if argv[:1] == ["gate"]:
        from nodespec.preflight import gate as boot  # noqa: PLC0415

        return boot.run_gate_command(argv[1:], bundled, _read_bundled_waivers(carried))
    plain = parse_check(argv[1:], bundled=True) if argv[:1] == ["check"] else None
    if plain:
        return _check_host(plain, bundled, carried)
    args = _make_parser(bundled).parse_args(argv)
    if args.version:
        print(_format_version(bundled))  # noqa: T201
        return 0
    commands = {"check": _check_host, "facts": _print_facts, "explain": _explain_name}
    if args.command not in commands:
        raise UsageError("expected a command: check, facts, explain or gate; --help lists the options")
    return commands[args.command](args, bundled, carried)


def _make_parser(bundled: Plan) -> argparse.ArgumentParser:
    from nodespec import parsers  # noqa: PLC0415 - argparse, which a plain command line does not need

    names = ", ".join(spec.name for spec in bundled.specs)
    top = parsers.Parser(
        prog="preflight",
        description=f"Check whether this Linux machine conforms to {names}.",
        formatter_class=parsers.HelpFormatter,
    )
    top.add_argument("--version", action="store_true", help="print the version, and the specs with their digests")
    commands = top.add_subparsers(prog="preflight", dest="command", metavar="COMMAND", parser_class=parsers.Parser)
    check = commands.add_parser("check", help="check this host", formatter_class=parsers.HelpFormatter)
    parsers.add_access_options(check)
    parsers.add_options(check, "judging")
    parsers.add_report_options(check, *writer.list_formats())
    facts = commands.add_parser("facts", help="print or record facts of this host: those of the specs, or those named")
    facts.add_argument("what", nargs="*", metavar="PLACE", help="a fact, for example kernel or kernel.config.USER_NS")
    parsers.add_recording_options(facts)
    parsers.add_access_options(facts)
    explain = commands.add_parser("explain", help="explain a requirement or a fact")
    explain.add_argument(
        "what", nargs="?", metavar="ID|FACT", help="the id of a requirement, or a fact (default: the specs)"
    )
    commands.add_parser("gate", help="start the kubelet at boot only if the machine conforms")
    return top


def _format_version(bundled: Plan) -> str:
    return "\n".join([f"nodespec {__version__}", *(f"{spec.name} sha256:{spec.digest}" for spec in bundled.specs)])


def _check_host(args: argparse.Namespace, bundled: Plan, carried: Mapping[str, Json]) -> int:
    from nodespec.run import check as gate  # noqa: PLC0415 - a module is compiled when it is imported, at every start

    options = read_judge_options(args, (*_read_bundled_waivers(carried), *_load_json_waivers(args.waivers)))
    return gate.run(bundled, read_target(args), options, read_outputs(args))


def _read_bundled_waivers(carried: Mapping[str, Json]) -> Tuple[Waiver, ...]:
    return tuple(decode_waiver(waiver_data) for waiver_data in cast("List[Json]", carried["waivers"]))


def _load_json_waivers(path: str) -> Tuple[Waiver, ...]:
    """Load waivers in JSON, because a node may have no parser of YAML."""
    if not path:
        return ()
    from nodespec.judge.waivers import load  # noqa: PLC0415 - only needed for waivers

    try:
        return load(path)
    except UsageError as error:
        hint = "a bundle reads waivers as JSON only, or includes them: nodespec bundle --waivers"
        raise UsageError(*error.messages, *([hint] if path.endswith((".yaml", ".yml")) else [])) from None


def _print_facts(args: argparse.Namespace, bundled: Plan, _: Mapping[str, Json]) -> int:
    from nodespec.run import record  # noqa: PLC0415 - likewise

    everything = declaration.list_families() if args.all and args.record else ()
    names = [*everything, *(args.what or [bundled])]
    return record.print_or_record(names, read_target(args), read_record_options(args))


def _explain_name(args: argparse.Namespace, bundled: Plan, _: Mapping[str, Json]) -> int:
    from nodespec.output import manual  # noqa: PLC0415 - likewise

    if not args.what:
        lines = manual.format_plan(bundled)
    elif args.what in {requirement.id for requirement in bundled.requirements}:
        lines = manual.format_requirement(bundled, args.what)
    elif args.what.split(".")[0] in declaration.list_families():
        lines = manual.format_fact(args.what)
    else:
        lines = manual.format_requirement(bundled, args.what)
    for line in lines:
        print(line)  # noqa: T201 - the requested output
    return 0
