"""Run the boot gate: judge this machine, and decide whether the guarded unit starts.

An override lasts for one boot: a file in /run, or a parameter on the kernel command line. With an override the unit
starts in any case, even after a defect of nodespec. The override is written to the journal, the report and a list.
"""

from __future__ import annotations

import os
import sys
import time

from nodespec import parsers
from nodespec.entry import run_guarded
from nodespec.errors import EXIT, UsageError, print_error
from nodespec.escape import escape_line
from nodespec.facts import declaration
from nodespec.facts.live import Live
from nodespec.host.machine import Machine
from nodespec.judge.conclusion import Choice
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFAULT_LIMITS, Unknown, Value
from nodespec.output import writer
from nodespec.preflight import systemd_unit
from nodespec.preflight.arguments import read_target
from nodespec.records import NamedTuple
from nodespec.run import check
from nodespec.run.request import JudgeOptions

if TYPE_CHECKING:
    import argparse
    from typing import List, Tuple, Union

    from nodespec.model.plan import Plan
    from nodespec.model.report import Report, Waiver

OVERRIDE_FILE = "/run/nodespec-override"
OVERRIDE_WORD = "nodespec.override"  # on the kernel's command line
WAIVERS_FILE = "/etc/nodespec/waivers.json"
STATE_DIR = "/var/lib/nodespec"
HEAD_CHARS = 4096  # characters of a bundle that contain its marker
LAST_LINE = "\nexit_with(lambda: main(CARRIED, sys.argv[1:]))\n"  # of a complete bundle
MAX_NAMED_FINDINGS = 5  # maximum findings in the last line
WARNING_PREFIX = "<4>"  # the syslog level of a line, see sd-daemon(3)


class Override(NamedTuple):
    """The decision of root to start the guarded unit anyway; `source` is where it was made."""

    source: str
    reason: str


def run_gate_command(argv: List[str], plan: Plan, waivers: Tuple[Waiver, ...]) -> int:
    """Answer `gate` on the command line of a bundle."""
    args = _make_parser().parse_args(argv)
    if args.action == "install":
        return systemd_unit.install_gate(_read_own_text(), args)
    if args.action == "status":
        from nodespec.preflight.gate_status import print_gate_status  # noqa: PLC0415 - a boot does not need it

        return print_gate_status(args.into)
    return systemd_unit.remove_gate(args) if args.action == "remove" else run_gate(plan, waivers, args)


def _make_parser() -> parsers.Parser:
    gate_ = parsers.Parser(prog="preflight gate")
    actions = gate_.add_subparsers(dest="action", metavar="ACTION", parser_class=parsers.Parser, required=True)
    systemd_unit.add_install_options(
        actions.add_parser("install", help="install this bundle and the systemd unit that runs it")
    )
    systemd_unit.add_root_option(actions.add_parser("remove", help="remove what `gate install` wrote"))
    systemd_unit.add_root_option(actions.add_parser("status", help="print what is installed and the last result"))
    running = actions.add_parser("run", help="check this host; run by the systemd unit")
    running.add_argument("--unit", default="kubelet.service", help="the guarded unit, for messages")
    parsers.add_access_options(running)
    parsers.add_options(running, "judging")
    return gate_


def _read_own_text() -> str:
    """Return the text of the bundle that runs.

    Raises `UsageError` if it was read from standard input.
    """
    path = getattr(sys.modules["__main__"], "__file__", None) or ""
    try:
        with open(path, encoding="ascii") as file:
            text = file.read()
    except (OSError, ValueError):
        text = ""
    if systemd_unit.MADE_BY not in text[:HEAD_CHARS] or not text.endswith(LAST_LINE):
        raise UsageError("gate install: run the bundle as a file: python3 -I ./preflight gate install")
    return text


def run_gate(plan: Plan, waivers: Tuple[Waiver, ...], args: argparse.Namespace) -> int:
    """Judge and report; return 0 if the guarded unit may start."""
    override = find_override()
    reports: List[Report] = []
    code = run_guarded(lambda _: _judge_machine(plan, waivers, override, args, reports), [])
    if override:
        _log_override(override, code)
    for line in _format_verdict(code, override, reports, args.unit):
        print(escape_line(line))  # noqa: T201 - the journal has it
    return 0 if override else code


def find_override() -> Union[Override, None]:
    """Return the override, if one with a reason is set."""
    host, place = Machine(), declaration.resolve_place(("kernel", "cmdline", OVERRIDE_WORD))
    parameter = Live(host, time.monotonic() + DEFAULT_LIMITS.run_seconds).observe(place)
    line = host.line(OVERRIDE_FILE)
    for source, observation in ((OVERRIDE_FILE, line), (OVERRIDE_WORD, parameter)):
        if isinstance(observation, Value):
            reason = " ".join(str(observation.value).split())
            if reason:
                return Override(source, reason)
            print_error(f"nodespec: {source}: no reason is given, so the override is ignored; write WHO and WHY")
        elif isinstance(observation, Unknown):
            print_error(f"nodespec: {source}: {observation.say}")
    return None


def _judge_machine(
    plan: Plan,
    waivers: Tuple[Waiver, ...],
    override: Union[Override, None],
    args: argparse.Namespace,
    reports: List[Report],
) -> int:
    wait = 0.0 if override else args.wait
    options = JudgeOptions(Choice(strict=args.strict), (*waivers, *_load_local_waivers()), wait)
    check.check_waivers(options.waivers, plan)
    report = check.judge_host(plan, read_target(args), options)
    if override and report.exit:
        notice = f"{args.unit} starts anyway, because of {override.source}: {override.reason}"
        report = report._replace(notices=(*report.notices, notice))
    reports.append(report)
    outputs = [writer.ReportOutput("text")]
    if os.path.isdir(STATE_DIR):  # the unit creates it
        outputs += [
            writer.ReportOutput("text", f"{STATE_DIR}/gate.txt"),
            writer.ReportOutput("json", f"{STATE_DIR}/gate.json"),
        ]
    return writer.write_reports([report], outputs, report.exit, every=False)


def _load_local_waivers() -> Tuple[Waiver, ...]:
    """Return the waivers of this machine alone."""
    if not os.path.lexists(WAIVERS_FILE):
        return ()
    from nodespec.judge.waivers import load  # noqa: PLC0415 - only needed for waivers

    return load(WAIVERS_FILE)


def _log_override(override: Override, code: int) -> None:
    """Append a line to the list of overrides."""
    from nodespec.output.file import append_line  # noqa: PLC0415 - an override is rare

    line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} exit {code} {override.source}: {override.reason}"
    try:
        append_line(f"{STATE_DIR}/overrides", escape_line(line))
    except OSError as error:
        print_error(f"nodespec: {STATE_DIR}/overrides: {error.strerror or error}: not written")


def _format_verdict(code: int, override: Union[Override, None], reports: List[Report], unit: str) -> List[str]:
    """Return the last lines of the output, which `systemctl status` shows."""
    if not code:
        return [f"{unit} may start"]
    mark = WARNING_PREFIX if "JOURNAL_STREAM" in os.environ else ""
    if override:
        warning = f"{mark}OVERRIDDEN by {override.source}: {override.reason}"
        return [warning, f"{mark}{unit} starts anyway: {_format_cause(code, reports)}"]
    return [
        f"{mark}{unit} does not start: {_format_cause(code, reports)}",
        f"fix it, then: systemctl start {unit}",
        f"or, until the next boot: echo WHO and WHY >{OVERRIDE_FILE}; systemctl start {unit}",
    ]


def _format_cause(code: int, reports: List[Report]) -> str:
    if code not in EXIT.values() or not reports:
        return f"exit {code}, see above"
    outcome = "fail" if reports[0].select_findings("fail", "enforced") else "unknown"
    ids = [finding.id for finding in reports[0].select_findings(outcome, "enforced")]
    more = f" and {len(ids) - MAX_NAMED_FINDINGS} more" if len(ids) > MAX_NAMED_FINDINGS else ""
    return (
        f"{outcome} {', '.join(ids[:MAX_NAMED_FINDINGS])}{more}"
        if ids
        else f"{reports[0].conclusion}, no required requirement passes"
    )
