"""Load the requested specs and all specs that they extend, parents first."""

from __future__ import annotations

from nodespec.author.spec.yaml_source import parse
from nodespec.errors import DocumentError, ErrorCollector, UsageError, suggest_name
from nodespec.facts import declaration
from nodespec.facts.value_numbers import Version
from nodespec.facts.versions import RELEASE
from nodespec.judge import expectation
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.document import Map, Node, Word, find_unknown_keys, iterate_items, require_list, require_text
from nodespec.model.plan import LANGUAGE_VERSION, cast_node
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, List, Sequence, Set, Tuple

    from nodespec.author.spec.library import Library, SpecText

TOP_KEYS = ("nodespec", "requires", "name", "title", "extends", "params", "drop", "require", "recommend", "rules")
CONTENT_KEYS = {"extends", "params", "require", "recommend", "rules"}  # a mapping with one of these keys is a spec


class Document(NamedTuple):
    """A parsed spec file.

    `parents` holds the keys of the specs that it extends. `notes` lists parts of a foreign spec that cannot be
    converted.
    """

    file: str
    body: Map
    parents: Tuple[str, ...] = ()
    notes: Tuple[str, ...] = ()

    def text(self, key: str) -> str:
        """Return a text of the top level, or an empty string."""
        return require_text(self.body[key], key) if key in self.body else ""

    def list(self, key: str) -> Sequence[Node]:
        """Return a list of the top level, or an empty tuple."""
        return require_list(self.body[key]) if key in self.body else ()

    def params(self) -> Iterable[Tuple[Word, Node]]:
        """Return the parameters that the document declares."""
        return iterate_items(self.body["params"], "`params`") if "params" in self.body else ()


class _OpenDocument(NamedTuple):
    """A document whose parents are still being read; `ahead` iterates over the rest."""

    key: str
    document: Document
    ahead: Iterator[Node]
    parents: List[str]


class Documents:
    """All documents of a resolution, by key.

    `lost` contains `extends` or `params` if such a part could not be read. A missing name may then be defined there, so
    that it is not reported.
    """

    def __init__(self, library: Library, problems: List[DocumentError]) -> None:
        self.library, self.problems = library, problems
        self.known: Dict[str, Document] = {}  # parents first
        self.lost: Set[str] = set()

    def collect(self, names: Sequence[str]) -> Dict[str, str]:
        """Read the named specs and all specs that they extend.

        Returns the requested names by the key of their document.
        """
        requested: Dict[str, str] = {}
        for name in names:
            with ErrorCollector(self.problems):
                spec = self.library.find(name)
                self._collect_ancestors(spec)
                if spec.key in self.known:
                    requested[spec.key] = name
            if name not in requested.values():
                self.lost |= {"extends", "params"}
        return requested

    def list_ancestors(self, key: str) -> Tuple[str, ...]:
        """Return the keys of all ancestors of a document, depth first, then its own key."""
        done: Dict[str, None] = {}
        stack = [(key, False)]
        while stack:
            ancestor, ready = stack.pop()
            if ready:
                done[ancestor] = None
            elif ancestor not in done:
                stack.append((ancestor, True))
                stack += [(parent, False) for parent in reversed(self.known[ancestor].parents)]
        return tuple(done)

    def _collect_ancestors(self, spec: SpecText) -> None:
        """Read a document and its ancestors, depth first; each file once."""
        path: Dict[str, _OpenDocument] = {}
        self._open_document(spec, path)
        while path:
            current = path[next(reversed(path))]
            node = next(current.ahead, None)
            if node is None:
                self.known[current.key] = current.document._replace(parents=tuple(current.parents))
                del path[current.key]
                continue
            if self._open_parent(node, current, path):
                continue
            self.lost |= {"extends", "params"}

    def _open_parent(self, node: Node, current: _OpenDocument, path: Dict[str, _OpenDocument]) -> bool:
        """Open a parent document. Return whether it could be read."""
        with ErrorCollector(self.problems):
            parent = self._find_parent(node, current.key)
            if parent.key in path:
                raise DocumentError(node, f"`{node}` extends itself")
            self._open_document(parent, path)
            current.parents.append(parent.key)
            return True
        return False

    def _open_document(self, spec: SpecText, path: Dict[str, _OpenDocument]) -> None:
        if spec.key in self.known:
            return
        document = self._parse_document(spec)
        parents: Sequence[Node] = ()
        with ErrorCollector(self.problems):
            parents = document.list("extends")
        path[spec.key] = _OpenDocument(spec.key, document, iter(parents), [])

    def _find_parent(self, node: Node, beside: str) -> SpecText:
        """Find a spec that a document extends.

        Raises `DocumentError` with the position of its name if it is not found.
        """
        name = require_text(node, "extends")
        try:
            return self.library.find(name, beside)
        except UsageError as error:
            raise DocumentError(node, "; ".join(error.messages)) from None

    def _parse_document(self, spec: SpecText) -> Document:
        body: Node = parse(spec.data, spec.file, self.problems)
        if not isinstance(body, Map):
            raise DocumentError(body, "a spec must be a mapping that begins with `nodespec: 1`")
        notes: Tuple[str, ...] = ()
        if "nodespec" not in body:
            body, notes = _convert_foreign_spec(body)
        _check_language(body, self.problems)
        document = Document(spec.file, body, (), notes)
        unknown = [_explain_unknown_key(error) for error in find_unknown_keys(body, TOP_KEYS)]
        self.problems += unknown
        meant = " ".join(suggest_name(str(error.node), TOP_KEYS) for error in unknown)
        self.lost |= {key for key in ("extends", "params") if f"`{key}`" in meant}
        for key in ("name", "title"):
            with ErrorCollector(self.problems):
                document.text(key)
        return document


def _convert_foreign_spec(body: Map) -> Tuple[Map, Tuple[str, ...]]:
    """Return a SysSpec as a spec of nodespec, with notes; any other document unchanged."""
    from nodespec.author.spec import sysspec  # noqa: PLC0415 - for documents without `nodespec` only

    if not sysspec.is_sysspec(body) or _names_facts(body):
        return body, ()
    return sysspec.convert_sysspec(body)


def _names_facts(body: Map) -> bool:
    """Return whether a mapping without `nodespec` is of facts, as `nodespec facts` prints them."""
    if "os" in body:
        return isinstance(body["os"], Map)  # a text in a SysSpec
    from nodespec.author.spec.sysspec import SYSSPEC_KEYS  # noqa: PLC0415 - for documents without `nodespec` only

    families = {*declaration.list_families()}
    return bool(families & {*body} - {*SYSSPEC_KEYS}) or isinstance(body.get("cgroups"), Map)


def _explain_unknown_key(error: DocumentError) -> DocumentError:
    """Return the error of an unknown key, with the way out if it is a family of facts."""
    if str(error.node) not in declaration.list_families():
        return error
    return DocumentError(error.node, f"`{error.node}` is a family of facts; write it under `require` or `recommend`")


def _check_language(body: Map, problems: List[DocumentError]) -> None:
    """Refuse a document for another program or another version of nodespec."""
    version = body.get("nodespec")
    if version != str(LANGUAGE_VERSION):
        from nodespec.model.newer import describe_newer_format  # noqa: PLC0415 - only needed for an error message

        newer = describe_newer_format(version, LANGUAGE_VERSION)
        say = f"`nodespec: {LANGUAGE_VERSION}` is required: the version of the spec language{newer and f'; {newer}'}"
        error = DocumentError(version or body, say)
        if version is not None or not (CONTENT_KEYS & {*body} or _names_facts(body)):
            raise error
        problems.append(error)
    if "requires" in body:
        _check_version(body["requires"])


def _check_version(node: Node) -> None:
    from nodespec import __version__  # noqa: PLC0415 - few specs require a version

    if not isinstance(node, Word):
        raise DocumentError(
            node, "`requires` must be a range of nodespec versions, such as >=1.2; did you mean `require`?"
        )
    needed = expectation.parse_expectation(cast_node(node), Version(RELEASE))
    if not needed.test(__version__):
        raise DocumentError(node, f"this spec requires nodespec {needed.text}; this is nodespec {__version__}")
