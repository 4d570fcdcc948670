"""Convert parsed arguments to the records that the modules below the command line take."""

from __future__ import annotations

from nodespec.errors import UsageError
from nodespec.judge.conclusion import Choice
from nodespec.light_typing import TYPE_CHECKING
from nodespec.output.writer import parse_outputs
from nodespec.run.request import JudgeOptions, Outputs, RecordOptions, Target

if TYPE_CHECKING:
    import argparse
    from typing import Any, Dict, Sequence, Tuple

    from nodespec.model.report import Waiver


def read_target(args: argparse.Namespace) -> Target:
    """Return the host that the options of the access select; `diff` lacks some of them."""
    given = {name: getattr(args, name) for name in Target._fields if getattr(args, name, None) is not None}
    return Target(**given)


def read_judge_options(args: argparse.Namespace, waivers: Tuple[Waiver, ...]) -> JudgeOptions:
    """Return the options of judging, with the waivers that the caller loaded."""
    given: Dict[str, Any] = {name: getattr(args, name) for name in JudgeOptions._fields if hasattr(args, name)}
    given.update(choice=Choice(tuple(args.only), tuple(args.skip), args.strict), waivers=waivers)
    return JudgeOptions(**given)


def read_outputs(args: argparse.Namespace) -> Outputs:
    """Return the reports that `-o` requests. Raises `UsageError` for an unknown format."""
    return Outputs(parse_outputs(args.output), args.all)


def read_record_options(args: argparse.Namespace) -> RecordOptions:
    """Return the options of `parsers.add_recording_options`."""
    return RecordOptions(args.record or "", args.all, args.reveal)


def read_assignments(assignments: Sequence[str]) -> Dict[str, str]:
    """Return values by name, from texts such as `role=worker`.

    Raises `UsageError` for a text without `=`, or for two values of one name.
    """
    pairs: Dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {assignment}: expected K=V")
        if pairs.setdefault(name, value) != value:
            raise UsageError(f"--set {name}: two values")
    return pairs
