"""The interface of a report format: a module of `reports/` with the format's name.

The module must have `render`. It may have `EMBEDS`, `REQUIRES` and `Stream`, see docs/writing-a-format.md.
"""

from __future__ import annotations

from importlib import import_module

from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Optional, Protocol, Sequence, Tuple

    from nodespec.judge.fleet_summary import Gist
    from nodespec.model.report import Report, Style

    class Stream(Protocol):
        """A format that is rendered host by host, to keep a fleet's reports out of memory.

        The document is `begin`, then the parts with `between` between them, then `end`. `begin` and `end` are called
        once, after the last part, with the gist of every report. The document must equal the result of `render`.
        """

        between: str

        def part(self, report: Report) -> str:
            """Render one host."""
            raise NotImplementedError

        def begin(self, gists: Sequence[Gist]) -> str:
            """Render the text before the parts."""
            raise NotImplementedError

        def end(self, gists: Sequence[Gist]) -> str:
            """Render the text after the parts."""
            raise NotImplementedError


class Renderer(NamedTuple):
    """A report format.

    `render` takes reports and a style, and returns the whole document. It must not raise, whatever text a report
    contains. Equal reports must give equal text. `embeds`: the document contains the plan and all facts, which are then
    collected; the default is False. `stream`, if any, renders host by host. `requires` are modules of other projects.
    """

    render: Callable[[Sequence[Report], Style], str]
    embeds: bool = False
    stream: Optional[Callable[[Style], Stream]] = None
    requires: Tuple[str, ...] = ()


def load_renderer(name: str) -> Renderer:
    """Return the renderer of a format that `reports.FORMATS` names.

    Raises AttributeError if its module has no `render`.
    """
    module = import_module(f"nodespec.reports.{name}")
    return Renderer(
        cast("Callable[[Sequence[Report], Style], str]", module.render),
        getattr(module, "EMBEDS", False) is True,
        cast("Optional[Callable[[Style], Stream]]", getattr(module, "Stream", None)),
        cast("Tuple[str, ...]", getattr(module, "REQUIRES", ())),
    )
