"""Functions of bash, zsh and fish that complete one kind of argument; WORDS stands for a list of words.

A kind is what the metavar of an argument says: `SPEC` is the name of a spec, or a file.
"""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Optional

import words

SPEC_FILES = ("yaml", "yml", "json")


class CompletedWord(NamedTuple):
    """Words that are completed, and whether files (with one of some endings) or directories are too."""

    name: str
    words: Callable[[], List[str]] = list
    endings: Optional[tuple[str, ...]] = None  # (): all files; None: no files
    directories: bool = False


SPEC = CompletedWord("spec_file", words.specs, SPEC_FILES)
KINDS: Dict[str, CompletedWord] = {  # by metavar
    "SPEC": SPEC,
    "SPEC|PLACE": CompletedWord("spec_place_file", lambda: [*words.specs(), *words.places()], SPEC_FILES),
    "SPEC|FACT": CompletedWord("spec_fact_file", lambda: [*words.specs(), *words.places()], SPEC_FILES),
    "A B [SPEC|PLACE]": CompletedWord("side_file", lambda: [*words.SIDES, *words.specs(), *words.places()], ()),
    "ID": CompletedWord("id", words.ids),
    "GLOB": CompletedWord("id", words.ids),
    "K=V": CompletedWord("assignment", words.assignments),
    "OS/ARCH": CompletedWord("platform", lambda: words.PLATFORMS),
    "FILE": CompletedWord("any_file", endings=()),
    "PATH": CompletedWord("any_file", endings=()),
    "FILE|DIR": CompletedWord("any_file", endings=()),
    "DIR": CompletedWord("any_dir", directories=True),
}
FORMAT = "FORMAT[=FILE]"  # a word, or a word and a file behind it

BASH_FORMAT = """\
_nodespec_format_file() {
  if [[ $1 == *=* ]]; then
    compgen -f -P "${1%%=*}=" -- "${1#*=}"
  else
    compgen -W 'WORDS' -- "$1"
  fi
}"""
ZSH_FORMAT = """\
_nodespec_format_file() {
  if compset -P '*='; then _files; else compadd -- WORDS; fi
}"""
FISH_FORMAT = """\
function _nodespec_format_file
  set -l word (commandline -ct)
  if string match -q '*=*' -- $word
    set -l parts (string split -m 1 = -- $word)
    for file in (__fish_complete_path $parts[2])
      printf '%s=%s\\n' $parts[1] $file
    end
  else
    printf '%s\\n' WORDS
  end
end"""

# COMP_WORDBREAKS splits `--set role=wo` into four words: join them, and take what was joined off the replies.
BASH_JOINED = """\
_nodespec_joined() {
  local line=$COMP_LINE previous= word number current=0
  local -a joined=()
  for number in "${!COMP_WORDS[@]}"; do
    word=${COMP_WORDS[number]}
    if ((number)) && [[ $line != [[:space:]]* && ( $word == [=:]* || $previous == *[=:] ) ]]; then
      joined[${#joined[@]}-1]+=$word
    else
      joined+=("$word")
    fi
    line=${line#"${line%%[![:space:]]*}"}
    line=${line#"$word"}
    previous=$word
    ((number == COMP_CWORD)) && { current=$((${#joined[@]} - 1)); break; }
  done
  local COMP_CWORD=$current
  local -a COMP_WORDS=("${joined[@]}")
  _shtab_nodespec "$@"
  word=${joined[current]}
  [[ $word != *[=:]* ]] || COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*[=:]}"}"}")
}
complete -o bashdefault -F _nodespec_joined nodespec
"""


def bash(kind: CompletedWord) -> str:
    """Return the function of a kind for bash. Its argument is the word to complete."""
    lines = [f"  compgen -W '{' '.join(kind.words())}' -- \"$1\""] if kind.words is not list else []
    lines += [f"  compgen -f -X '!*.{ending}' -- \"$1\"" for ending in kind.endings or ()]
    lines += ['  compgen -f -- "$1"'] if kind.endings == () else []
    lines += ['  compgen -d -- "$1"'] if kind.directories or kind.endings else []
    return "\n".join([f"_nodespec_{kind.name}() {{", *lines, "}"])


def zsh(kind: CompletedWord) -> str:
    """Return the function of a kind for zsh."""
    files = "_files -/" if kind.directories else "_files"
    if kind.endings:
        files += f" -g '*.({'|'.join(kind.endings)})(-.)'"
    lines = ["  local result=1"]
    if kind.words is not list:
        lines.append(f"  local -a all=({' '.join(map(_quoted, kind.words()))})")
        lines.append("  compadd -a all && result=0")
    if kind.endings is not None or kind.directories:
        lines.append(f"  {files} && result=0")
    return "\n".join([f"_nodespec_{kind.name}() {{", *lines, "  return result", "}"])


def fish(kind: CompletedWord) -> str:
    """Return the function of a kind for fish."""
    lines = [f"  printf '%s\\n' {' '.join(map(_quoted, kind.words()))}"] if kind.words is not list else []
    if kind.endings:
        pattern = f"(?:/|\\.(?:{'|'.join(kind.endings)}))(?:\\t|$)"
        lines.append(f"  __fish_complete_path (commandline -ct) | string match -r -e '{pattern}'")
    lines += ["  __fish_complete_path (commandline -ct)"] if kind.endings == () else []
    lines += ["  __fish_complete_directories (commandline -ct)"] if kind.directories else []
    return "\n".join([f"function _nodespec_{kind.name}", *lines, "end"])


def _quoted(word: str) -> str:
    return word if word.replace(".", "").replace("-", "").replace("_", "").replace("/", "").isalnum() else f"'{word}'"


def completer(metavar: str) -> Dict[str, object]:
    """Return what shtab completes an argument with; empty if its value is free."""
    if metavar == FORMAT:
        names = " ".join(words.formats())
        texts = {"bash": BASH_FORMAT, "zsh": ZSH_FORMAT, "fish": FISH_FORMAT}
        return _completer("format_file", {shell: text.replace("WORDS", names) for shell, text in texts.items()})
    if metavar not in KINDS:
        return {}
    kind = KINDS[metavar]
    return _completer(kind.name, {"bash": bash(kind), "zsh": zsh(kind), "fish": fish(kind)})


def _completer(name: str, functions: Dict[str, str]) -> Dict[str, object]:
    called = {"bash": f"_nodespec_{name}", "zsh": f"_nodespec_{name}", "fish": f"(_nodespec_{name})"}
    return {**called, "preamble": functions}
