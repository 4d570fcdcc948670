"""The contract of a report format: a module of `reports/` whose name is the format's.

It must have `render`. It may have `EMBEDS` and `Stream`; docs/writing-a-format.md says when.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Callable, Optional, cast

from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Protocol, Sequence

    from nodespec.judge.fleet_summary import Gist
    from nodespec.model.report import Report, Style

    class Stream(Protocol):
        """A format that is rendered host by host, so that a fleet's reports need not be in memory together.

        The document is `begin`, then the parts with `between` between them, then `end`. `begin` and `end` are called
        once, after the last part, with the gist of every report. It must equal what `render` gives.
        """

        between: str

        def part(self, report: Report) -> str:
            """Render one host."""
            raise NotImplementedError

        def begin(self, gists: Sequence[Gist]) -> str:
            """Render what stands before the parts."""
            raise NotImplementedError

        def end(self, gists: Sequence[Gist]) -> str:
            """Render what stands behind the parts."""
            raise NotImplementedError


class Renderer(NamedTuple):
    """A report format.

    `render` takes reports and a style, and returns the whole document; it never raises for what a report says, and
    the same reports give the same text. `embeds`: the document carries the plan and all facts, which are then
    collected; the default is not to. `stream`, where there is one, renders host by host.
    """

    render: Callable[[Sequence[Report], Style], str]
    embeds: bool = False
    stream: Optional[Callable[[Style], Stream]] = None


def load_renderer(name: str) -> Renderer:
    """Return the renderer of a format that `reports.FORMATS` names; AttributeError where its module has no `render`."""
    module = import_module(f"nodespec.reports.{name}")
    return Renderer(
        cast("Callable[[Sequence[Report], Style], str]", module.render),
        getattr(module, "EMBEDS", False) is True,
        cast("Optional[Callable[[Style], Stream]]", getattr(module, "Stream", None)),
    )
