"""Explain a requirement by its id alone, as a report prints it, with the observation of this host."""

from __future__ import annotations

from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError, suggest_name
from nodespec.facts.declaration import Place, Table
from nodespec.judge.conclusion import Choice
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.plan import Plan
from nodespec.output import facts_yaml, manual
from nodespec.reports import words
from nodespec.run.check import judge_host, open_target
from nodespec.run.request import JudgeOptions, Target

if TYPE_CHECKING:
    from typing import Iterator, List, Mapping, Tuple


def explain_id(id_: str, library: Library, params: Mapping[str, str]) -> Iterator[str]:
    """Yield the page of the first spec of the library with this requirement, and the names of the others.

    Raises `UsageError` if no spec, fact or requirement has this name.
    """
    names = library.names()
    plans = [(name, plan) for name, plan in _resolve_all(names, library, params) if _has_requirement(plan, id_)]
    if not plans:
        raise UsageError(f"{id_}: no spec, fact or requirement of the library has this name{suggest_name(id_, names)}")
    name, plan = plans[0]
    yield f"{name}:"
    yield from manual.format_requirement(plan, id_)
    yield from _describe_here(plan, id_)
    if plans[1:]:
        yield f"also in  {', '.join(other for other, _ in plans[1:])}"


def explain_fact(what: str, library: Library, params: Mapping[str, str]) -> Iterator[str]:
    """Yield the page of a family or a fact, its value on this machine, and the requirements with the same name."""
    yield from manual.format_fact(what)
    found = facts_yaml.find_place(what)
    if not isinstance(found, Place) or (isinstance(found.fact, Table) and not found.key):
        return
    yield "\nhere:"
    yield from facts_yaml.format_facts([what], open_target(Target())[0], every=False)
    if any(_has_requirement(plan, what) for _, plan in _resolve_all(library.names(), library, params)):
        yield ""
        yield from explain_id(what, library, params)


def _resolve_all(names: Tuple[str, ...], library: Library, params: Mapping[str, str]) -> Iterator[Tuple[str, Plan]]:
    """Yield the specs of the library that resolve; a spec may lack a param that `--set` names."""
    for name in names:
        try:
            yield name, resolve([name], library, params, trial=True)
        except UsageError:
            if not params:
                raise


def _has_requirement(plan: Plan, id_: str) -> bool:
    return any(requirement.id == id_ for requirement in plan.requirements)


def _describe_here(plan: Plan, id_: str) -> List[str]:
    """Return the result of the requirement on this machine."""
    report = judge_host(plan, Target(), JudgeOptions(Choice(only=(id_,))), embeds=False)
    [finding] = [finding for finding in report.findings if finding.id == id_]
    lines = [f"here     {finding.outcome}: {finding.sentence}"]
    return lines + [f"         {line}" for line in words.format_evidence(finding)]
