"""Build the bundle: one Python file that checks specs on a host with Python 3.9.

It contains a short loader, followed by encoded data: the modules that a node needs, the families that the specs use,
and the plan. It also contains the bytecode of these modules. A Python with another bytecode version compiles the
sources that it imports at every start. Equal inputs give equal bytes.
"""

from __future__ import annotations

import ast
import base64
import json
import marshal
import os
import zlib
from importlib.util import MAGIC_NUMBER

import nodespec
from nodespec import __version__
from nodespec.author.bundle import minify
from nodespec.errors import UsageError
from nodespec.escape import escape_line
from nodespec.judge.pattern import SAME
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model import plan_json

if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, List, Mapping, Sequence, Set

    from nodespec.model.json_types import Json
    from nodespec.model.plan import Plan

PACKAGE_DIR = os.path.dirname(os.path.abspath(nodespec.__file__))
ROOT_MODULES = ("nodespec.preflight.main",)
START_MODULES = (
    "nodespec.run.check",
    "nodespec.entry",
    "nodespec.preflight.main",
)  # modules that a check starts with
USUAL_MODULES = (
    *("nodespec.checks._boot_next", "nodespec.checks._kernel_config_inferred", "nodespec.checks._systemd_command"),
    "nodespec.checks._runtime_answers",
    *("nodespec.host.cri", "nodespec.host.grpc", "nodespec.host.lifeline"),
    *("nodespec.judge.quantified_rule", "nodespec.judge.text_match", "nodespec.recording.tee", "nodespec.reports.json"),
)  # modules that a check of a usual node imports later
BUNDLED_FORMATS = ("text", "json", "junit")
HEAD_FAMILIES = ("kernel", "os")  # the families that the head of every report uses
MAX_BUNDLE_BYTES = 800_000  # maximum size of a bundle in bytes; bytecode that does not fit is left out
LINE_CHARS = 1000  # characters in a line of encoded data

LOADER = """\
#!/usr/bin/env python3
# {title}
# Made by nodespec {version}. Run it with `python3 -I`, 3.9 or later: check, facts, explain, --help.
import sys

# Others may write to the folder of this file and to the current directory: import nothing from there. Python puts one
# of them first, unless -I or -P is given, and a folder or archive that it runs in any case. PYTHONPATH comes last.
sys.dont_write_bytecode = True
isolated = getattr(sys.flags, "isolated", 0) or getattr(sys.flags, "safe_path", 0)
first = 0 if isolated and sys.path[:1] != sys.argv[:1] else 1
library = getattr(sys.modules.get("encodings"), "__path__", [""])[0].rpartition("/")[0]
if library in sys.path[first:]:
    at = sys.path.index(library, first)
    sys.path[:] = [entry for entry in sys.path[at:] + sys.path[first:at] if entry.startswith("/")]
elif sys.path[:1] != [library]:
    del sys.path[:first]

try:
    if sys.version_info < (3, 9):
        raise ImportError("Python %d.%d" % sys.version_info[:2])
    import binascii, marshal, os, zlib
    from importlib.machinery import ModuleSpec
    from importlib.util import MAGIC_NUMBER, find_spec
    if not find_spec("json"):  # python3-minimal of Debian, which lacks much that a check may need
        raise ImportError("No module named 'json'")
except ImportError as error:
    sys.stderr.write("nodespec: a complete Python 3.9 or later is required: %s\\n" % error)
    sys.exit(2)

CARRIED = \"\"\"
{carried}
\"\"\"
SOURCES = \"\"\"
{sources}
\"\"\"
CODE = \"\"\"
{code}
\"\"\"  # bytecode of the Python with the magic number {magic}


def decompress(text):
    return marshal.loads(zlib.decompress(binascii.a2b_base64(text)))


class Bundled:
    compiled = MAGIC_NUMBER.hex() == "{magic}" and not os.environ.get("NODESPEC_DEBUG")
    started, single = marshal.loads(binascii.a2b_base64(CODE)) if compiled else (None, {{}})
    codes = marshal.loads(zlib.decompress(started)) if compiled else {{}}
    sources = {{}}

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in CARRIED["modules"]:
            return ModuleSpec(name, Bundled, is_package=name in CARRIED["packages"])

    @staticmethod
    def create_module(spec):
        pass

    @staticmethod
    def exec_module(module):
        name = module.__name__
        if name in Bundled.codes:
            code = marshal.loads(Bundled.codes[name])
        elif name in Bundled.single:
            code = marshal.loads(zlib.decompress(Bundled.single[name]))
        else:
            Bundled.sources = Bundled.sources or decompress(SOURCES)
            code = compile(Bundled.sources[name], name, "exec")
        exec(code, module.__dict__)


CARRIED = decompress(CARRIED)
sys.meta_path.insert(0, Bundled)
from nodespec.entry import exit_with
from nodespec.preflight.main import main

exit_with(lambda: main(CARRIED, sys.argv[1:]))
"""


def build_bundle(plan: Plan, waivers: Json) -> str:
    """Return the text of the bundle."""
    families = sorted({*HEAD_FAMILIES, *find_used_families(plan)})
    modules = {name: minify.minify_source(name, source) for name, source in sorted(collect_sources(families).items())}
    carried: Dict[str, Json] = {
        "modules": [*modules],
        "packages": [name for name in modules if _is_package(name)],
        "plan": plan_json.encode_plan(plan),
        "waivers": waivers,
    }
    title = escape_line(
        ", ".join(f"{spec.name} sha256:{spec.digest[:16]}" for spec in plan.specs)
    )  # must stay one line, because it is a comment
    parts = {
        "carried": _encode_lines(_compress_marshaled(carried)),
        "sources": _encode_lines(_compress_marshaled({**modules})),
    }
    head = {"title": title, "version": __version__, "magic": MAGIC_NUMBER.hex()}
    room = (MAX_BUNDLE_BYTES - len(LOADER.format(**parts, **head, code=""))) * 3 // 4 * LINE_CHARS // (LINE_CHARS + 1)
    started = list_start_modules(families, modules)
    usual = _follow_imports([name for name in USUAL_MODULES if name in modules], modules)
    ordered = {name: modules[name] for name in dict.fromkeys((*started, *usual, *modules))}
    code = minify.compile_modules(ordered, len(started), room)
    return LOADER.format(**parts, **head, code=_encode_lines(code))


def _compress_marshaled(data: Mapping[str, Json]) -> bytes:
    """Encode JSON data with marshal, which needs no module of the standard library to be read."""
    plain = json.loads(json.dumps(data))  # marshal refuses subclasses of str
    return zlib.compress(marshal.dumps(plain, minify.MARSHAL_VERSION), 9)


def _encode_lines(data: bytes) -> str:
    text = base64.b64encode(data).decode()
    return "\n".join(text[at : at + LINE_CHARS] for at in range(0, len(text), LINE_CHARS))


def find_used_families(plan: Plan) -> Set[str]:
    """Return the families that a plan uses."""
    return {
        family
        for requirement in plan.requirements
        for data in (requirement.pattern, requirement.when)
        for family in _iter_families(data)
    }


def _iter_families(node: object) -> Iterator[str]:
    """Yield the first segments of all paths in the data of a pattern."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("fact", "every", "some") and isinstance(value, list):
                yield str(value[0])
            elif key != "expect":
                yield from _iter_families(value)
            elif isinstance(value, dict) and isinstance(value.get(SAME), list):
                yield str(value[SAME][0])
    elif isinstance(node, list):
        for member in node:
            yield from _iter_families(member)


def collect_sources(families: List[str]) -> Dict[str, str]:
    """Return the sources of all required modules.

    The registries of families and formats are replaced by lists of the included ones.
    """
    pending = [
        *ROOT_MODULES,
        *(f"nodespec.checks.{name}" for name in families),
        *(f"nodespec.reports.{n}" for n in BUNDLED_FORMATS),
    ]
    modules: Dict[str, str] = {"nodespec": _read_source("nodespec")}
    while pending:
        name = pending.pop()
        if name not in modules:
            modules[name] = _read_source(name)
            pending += _iter_imports(name, modules[name])
    modules["nodespec.checks"] = f"FAMILIES = {tuple(families)!r}\n"
    modules["nodespec.reports"] = f"FORMATS = {BUNDLED_FORMATS!r}\n"
    return modules


def list_start_modules(families: Sequence[str], modules: Mapping[str, str]) -> List[str]:
    """Return the included modules that a check imports at start."""
    pending = [*(f"nodespec.checks.{name}" for name in families), "nodespec.reports.text", *START_MODULES]
    return ["nodespec", "nodespec.checks", "nodespec.reports", *_follow_imports(pending, modules)]


def _follow_imports(pending: List[str], modules: Mapping[str, str]) -> List[str]:
    """Return modules, and those that they import at the top level."""
    names = ["nodespec", "nodespec.checks", "nodespec.reports"]
    while pending:
        name = pending.pop()
        if name not in names:
            names.append(name)
            pending += _iter_imports(name, modules[name], at_once=True)
    return names[3:]


def _read_source(name: str) -> str:
    path = os.path.join(PACKAGE_DIR, *name.split(".")[1:])
    file = os.path.join(path, "__init__.py") if _is_package(name) else f"{path}.py"
    try:
        with open(file, encoding="utf-8") as source:
            return source.read()
    except OSError as error:
        raise UsageError(f"{name} cannot be included in a bundle: {error.strerror}") from None


def _iter_imports(name: str, source: str, *, at_once: bool = False) -> Iterator[str]:
    """Yield the modules of nodespec that a module imports.

    With `at_once`, only imports at the top level count. Imports under `if TYPE_CHECKING` never count.
    """
    tree = ast.parse(source)
    if "." in name:
        yield name.rpartition(".")[0]  # Python imports the package first
    for node in tree.body if at_once else _iter_runtime_nodes(tree):
        if isinstance(node, ast.ImportFrom):
            for imported in (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)):
                if imported.startswith("nodespec.") and (_is_module(imported) or _is_package(imported)):
                    yield imported


def _iter_runtime_nodes(tree: ast.AST) -> Iterable[ast.AST]:
    """Yield all nodes except those under `if TYPE_CHECKING`."""
    if isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
        return
    yield tree
    for node in ast.iter_child_nodes(tree):
        yield from _iter_runtime_nodes(node)


def _is_package(name: str) -> bool:
    return os.path.isfile(os.path.join(PACKAGE_DIR, *name.split(".")[1:], "__init__.py"))


def _is_module(name: str) -> bool:
    return os.path.isfile(f"{os.path.join(PACKAGE_DIR, *name.split('.')[1:])}.py")
