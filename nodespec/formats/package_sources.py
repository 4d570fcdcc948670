"""Repositories of packages in the files of apt, dnf, zypper and apk.

https://manpages.debian.org/sources.list, https://dnf.readthedocs.io/en/latest/conf_ref.html
"""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterator, List, Mapping, Optional, Tuple

# Options of a line in brackets, such as [arch=amd64 signed-by=/etc/apt/keyrings/x.gpg].
_ONE_LINE = re.compile(r"(deb|deb-src)\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*(.*)")
_SECTION = re.compile(r"\[([^\]]+)\]\s*(?:[#;].*)?")
EMBEDDED = "embedded"  # a key in the file itself
YES = ("1", "yes", "true", "on", "enable", "with")


class RepositorySource(NamedTuple):
    """One URL of a repository as a file names it, with the line that names it.

    `signed` is None if the file does not decide it.
    """

    url: str
    line: int
    name: str
    enabled: bool
    signed: Optional[bool]
    keys: FrozenSet[str]
    suites: FrozenSet[str]
    components: FrozenSet[str]


class IniSection(NamedTuple):
    """A section of an INI file: its line, and the values of its keys with their lines."""

    name: str
    line: int
    values: Mapping[str, Tuple[str, int]]

    def get(self, key: str, default: str = "") -> str:
        """Return the value of a key."""
        return self.values.get(key, (default, 0))[0]


def parse_apt_lines(text: str) -> Iterator[RepositorySource]:
    """Parse lines of sources.list; lines of sources (deb-src) are left out.

    Example: `deb [signed-by=/k.gpg] https://x/debian bookworm main`. Raises ValueError for a malformed line.
    """
    for number, line in enumerate(text.split("\n"), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        match = _ONE_LINE.fullmatch(content)
        if not match:
            raise ValueError(f"line {number} is not a source of packages")
        kind, given, url, suite, components = match.groups()
        if kind == "deb":
            options = {name: value for name, _, value in (word.partition("=") for word in str(given or "").split())}
            yield RepositorySource(
                url,
                number,
                "",
                True,  # noqa: FBT003 - a line is enabled, a comment is not
                _is_apt_signed(options),
                frozenset(filter(None, options.get("signed-by", "").split(","))),
                frozenset((suite,)),
                frozenset(components.split()),
            )


def parse_apt_stanzas(text: str) -> Iterator[RepositorySource]:
    """Parse stanzas of a file `.sources`.

    Example: `Types: deb`, `URIs: https://x/debian`, `Suites: bookworm`. Raises ValueError for a malformed line.
    """
    for fields in _parse_stanzas(text):
        if "deb" not in fields.get("types", ("", 0))[0].split():
            continue
        options = {name: value for name, (value, _) in fields.items()}
        key = options.get("signed-by", "")
        keys = (EMBEDDED,) if "BEGIN PGP" in key else key.split()
        uris, line = fields.get("uris", ("", 0))
        for url in uris.split():
            yield RepositorySource(
                url,
                line,
                "",
                options.get("enabled", "yes").lower() in YES,
                _is_apt_signed(options),
                frozenset(keys),
                frozenset(options.get("suites", "").split()),
                frozenset(options.get("components", "").split()),
            )


def _is_apt_signed(options: Mapping[str, str]) -> bool:
    return not any(options.get(name, "no").lower() in YES for name in ("trusted", "allow-insecure"))


def _parse_stanzas(text: str) -> Iterator[Dict[str, Tuple[str, int]]]:
    """Yield the fields of stanzas in lower case, with their lines; comments may be anywhere."""
    fields: Dict[str, Tuple[str, int]] = {}
    name = ""
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t" and name:
            fields[name] = (f"{fields[name][0]}\n{line.strip()}", fields[name][1])
        else:
            name, colon, value = line.partition(":")
            name = name.strip().lower()
            if not colon or not re.fullmatch(r"[a-z0-9-]+", name):
                raise ValueError(f"line {number} is not a field")
            fields[name] = (value.strip(), number)
    if fields:
        yield fields


def parse_ini(text: str) -> List[IniSection]:
    """Parse sections of a file of dnf or zypper; a line that begins with a blank continues a value.

    Example: `[kubernetes]`, `baseurl=https://x/`. Raises ValueError for a malformed line.
    """
    sections: List[IniSection] = []
    values: Dict[str, Tuple[str, int]] = {}
    key = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line[0] in "#;":
            continue
        match = _SECTION.fullmatch(line.strip()) if line[0] == "[" else None
        if match:
            values, key = {}, ""
            sections.append(IniSection(match[1], number, values))
        elif line[0] in " \t" and key:
            values[key] = (f"{values[key][0]} {line.strip()}", values[key][1])
        elif "=" in line and sections:
            key, _, value = line.partition("=")
            key = key.strip().lower()
            values[key] = (value.strip(), number)
        else:
            raise ValueError(f"line {number} is neither a section nor a setting")
    return sections


def parse_repo_file(text: str, *, signed: Optional[bool]) -> Iterator[RepositorySource]:
    """Parse a file `.repo`; `signed` is the default of the system. Raises ValueError."""
    for section in parse_ini(text):
        if section.name == "main":
            continue
        check = section.get("gpgcheck") or section.get("pkg_gpgcheck")
        for key in ("baseurl", "mirrorlist", "metalink"):
            urls, line = section.values.get(key, ("", 0))
            for url in re.split(r"[\s,]+", urls.strip()):
                if url:
                    yield RepositorySource(
                        url,
                        line,
                        section.name,
                        section.get("enabled", "1").lower() in YES,
                        check.lower() in YES if check else signed,
                        frozenset(filter(None, re.split(r"[\s,]+", section.get("gpgkey")))),
                        frozenset(),
                        frozenset(),
                    )


def parse_apk_lines(text: str) -> Iterator[RepositorySource]:
    """Parse /etc/apk/repositories: a URL in each line, after an optional tag such as `@edge`."""
    for number, line in enumerate(text.split("\n"), 1):
        words = line.partition("#")[0].split()
        if words and words[0].startswith("@"):
            words = words[1:]
        if words:
            no: FrozenSet[str] = frozenset()
            yield RepositorySource(words[-1], number, "", True, True, no, no, no)  # noqa: FBT003 - see the class
