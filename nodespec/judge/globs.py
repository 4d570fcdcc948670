"""Select requirements by globs of ids and of tags."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from nodespec.formats.glob import matches_glob as matches_glob  # noqa: PLC0414 - renderers import it from here
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Iterable, List, Sequence, Tuple, Union

    from nodespec.model.plan import Requirement
    from nodespec.model.report import Finding

TAG_PREFIX = "tag:"  # a glob of --only and --skip that begins with it selects by tags


class GlobIndex:
    """An index of names for fast selection by globs.

    A glob is tested only on names that contain the longest of its literal parts.
    """

    def __init__(self, all_names: Iterable[str]) -> None:
        names = tuple(all_names)
        self.known = {name: None for name in names if "\n" not in name}
        self.others = tuple(name for name in names if "\n" in name)  # an id from a file name can contain any character
        self.text = "".join(f"{name}\n" for name in self.known)
        self.names = tuple(self.known)
        self.ends = tuple(accumulate(len(name) + 1 for name in self.known))

    def find_matches(self, pattern: str) -> List[str]:
        """Return the names that a glob selects, in their order."""
        others = [name for name in self.others if matches_glob(pattern, name)]
        if "*" not in pattern:
            return [*([pattern] if pattern in self.known else []), *others]
        part = max(pattern.split("*"), key=len)
        if not part:
            return [*self.names, *others]
        matches: List[str] = []
        at = self.text.find(part)
        while at >= 0:
            row = bisect_right(self.ends, at)
            if matches_glob(pattern, self.names[row]):
                matches.append(self.names[row])
            at = self.text.find(part, self.ends[row])
        return [*matches, *others]


def is_selected(globs: Sequence[str], requirement: Union[Requirement, Finding]) -> bool:
    """Return whether a glob of ids selects a requirement, or one of tags such as `tag:CIS-*`.

    An id also selects the ids below it.
    """
    name, tags = requirement.id, [f"{TAG_PREFIX}{tag}" for tag in requirement.tags]
    return any(
        any(matches_glob(glob, tag) for tag in tags)
        if glob.startswith(TAG_PREFIX)
        else matches_glob(glob, name) or matches_glob(f"{glob}.*", name)
        for glob in globs
    )


def find_unmatched_glob(
    only: Sequence[str], skip: Sequence[str], requirements: Sequence[Union[Requirement, Finding]]
) -> Tuple[str, str]:
    """Return the first option and glob that select no requirement, or empty strings."""
    for option, globs in (("only", only), ("skip", skip)):
        for glob in globs:
            if not any(is_selected((glob,), requirement) for requirement in requirements):
                return option, glob
    return "", ""
