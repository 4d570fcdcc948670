"""Parse GRUB's scripting language: the text of a grub.cfg as a syntax tree.

Raises ValueError for a text that GRUB's own parser refuses, and for blocks that are nested too deeply.
https://www.gnu.org/software/grub/manual/grub/grub.html#Shell_002dlike-scripting
"""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import FrozenSet, Iterator, List, Optional, Tuple, TypeAlias, Union

MAX_DEPTH = 24  # Nested blocks.
MAX_WORDS = 200_000  # Words of a script.
NEWLINE = "\n"
ENDS = (";", NEWLINE)  # The ends of a statement.


class WordPiece(NamedTuple):
    """A piece of a word: text, or the name of a variable.

    A quoted variable stays in one word, even if its value contains blanks.
    """

    text: str
    variable: bool = False
    quoted: bool = False


Word: TypeAlias = "Tuple[WordPiece, ...]"


class GrubCommand(NamedTuple):
    """A command with its arguments, and the block of `menuentry` and `submenu`."""

    words: Tuple[Word, ...]
    block: Optional[Tuple[Statement, ...]]
    line: int


class If(NamedTuple):
    """`if A; then B; elif C; then D; else E; fi`.

    The branches are (A, B) and (C, D); `otherwise` is E.
    """

    branches: Tuple[Tuple[Tuple[Statement, ...], Tuple[Statement, ...]], ...]
    otherwise: Tuple[Statement, ...]
    line: int


class For(NamedTuple):
    """`for NAME in WORDS; do BODY; done`."""

    name: str
    words: Tuple[Word, ...]
    body: Tuple[Statement, ...]
    line: int


class While(NamedTuple):
    """`while A; do B; done`, or `until`."""

    line: int


class Function(NamedTuple):
    """`function NAME { BODY }`."""

    name: str
    body: Tuple[Statement, ...]
    line: int


Statement: TypeAlias = "Union[GrubCommand, If, For, While, Function]"
Block: TypeAlias = "Tuple[Statement, ...]"

_TOKEN = re.compile(
    r"""(?P<joined>\\\n)|(?P<blank>[ \t\r]+)|(?P<end>[;\n])|(?P<brace>[{}])|'(?P<single>[^']*)'"""
    r"""|"(?P<double>(?:[^"\\]|\\.)*)"|\\(?P<escaped>.)"""
    r"""|\$(?:\{(?P<braced>\w+|[@*#?])\}|(?P<bare>\w+|[@*#?]))"""
    r"""|(?P<plain>[^\s;{}'"\\$|&<>]+|\$)""",
    re.DOTALL,
)
_WITHIN = re.compile(
    r"""\\(?P<escaped>[\\"$\n])|\$(?:\{(?P<braced>\w+|[@*#?])\}|(?P<bare>\w+|[@*#?]))|(?P<plain>[^\\$]+|.)""", re.DOTALL
)


class _Token(NamedTuple):
    """A word, a brace or the end of a statement, with its line (from 1)."""

    word: Word
    mark: str
    line: int

    @property
    def reserved(self) -> str:
        """The text of a word that may be reserved, without quotes and variables."""
        if self.mark:
            return self.mark
        return self.word[0].text if len(self.word) == 1 and self.word[0] == WordPiece(self.word[0].text) else ""


def parse_script(text: str) -> Block:
    """Parse the statements of a script.

    Example of the input:

        set default=0
        if [ -s $prefix/grubenv ]; then load_env; fi
    """
    parser = _GrubParser(list(_split_tokens(text)))
    block = parser.parse_block(frozenset())
    if not parser.done:
        raise ValueError(f"line {parser.line}: unexpected `{parser.peek}`")
    return block


def _split_tokens(text: str) -> Iterator[_Token]:
    word: Optional[List[WordPiece]] = None
    at, line, count = 0, 1, 0
    while at < len(text):
        if word is None and text[at] == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        match = _TOKEN.match(text, at)
        if not match:
            raise ValueError(f"line {line}: unexpected `{text[at]}`")
        at, start, count = match.end(), line, count + 1
        line += match[0].count("\n")
        if count > MAX_WORDS:
            raise ValueError("the script is too long")
        if match["joined"]:
            continue
        if match["blank"] or match["end"] or match["brace"]:
            if word is not None:
                yield _Token(tuple(word), "", start)
            word = None
            if not match["blank"]:
                yield _Token((), match["brace"] or match["end"], start)
            continue
        word = [] if word is None else word
        word += _split_word_pieces(match)
    if word is not None:
        yield _Token(tuple(word), "", line)


def _split_word_pieces(match: re.Match[str]) -> Iterator[WordPiece]:
    if match["double"] is not None:
        yield WordPiece("", quoted=True)
        for inner in _WITHIN.finditer(match["double"]):
            name = inner["braced"] or inner["bare"]
            text = inner["plain"] if inner["escaped"] is None else inner["escaped"].strip("\n")
            yield WordPiece(name, variable=True, quoted=True) if name else WordPiece(text or "", quoted=True)
    elif match["single"] is not None:
        yield WordPiece(match["single"], quoted=True)
    elif match["braced"] or match["bare"]:
        yield WordPiece(match["braced"] or match["bare"], variable=True)
    elif match["escaped"] is not None:
        yield WordPiece(match["escaped"], quoted=True)
    else:
        yield WordPiece(match["plain"])


class _GrubParser:
    """A recursive-descent parser of statements."""

    def __init__(self, tokens: List[_Token]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._tokens)

    @property
    def peek(self) -> str:
        return "" if self.done else self._tokens[self._at].reserved

    @property
    def line(self) -> int:
        return self._tokens[min(self._at, len(self._tokens) - 1)].line if self._tokens else 1

    def parse_block(self, ends: FrozenSet[str]) -> Block:
        """Parse statements up to one of the words in `ends`, which is not consumed."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"line {self.line}: blocks are nested more than {MAX_DEPTH} deep")
        statements: List[Statement] = []
        self._skip_newlines()
        while not self.done and self.peek not in ends and self.peek not in _CLOSING:
            statements.append(self._parse_statement())
            if self.peek not in ("", *ENDS, "}"):
                raise ValueError(f"line {self.line}: expected the end of the statement, not `{self.peek}`")
            self._at += self.peek == ";"
            self._skip_newlines()
        if not statements and ends:
            raise ValueError(f"line {self.line}: no statement before `{self.peek}`")
        self._depth -= 1
        return tuple(statements)

    def _skip_newlines(self) -> None:
        while self.peek == NEWLINE:
            self._at += 1

    def _parse_statement(self) -> Statement:
        line, verb = self.line, self.peek
        if verb == "if":
            return self._parse_if(line)
        if verb == "for":
            return self._parse_for(line)
        if verb in ("while", "until"):
            self._take_word(verb)
            self._parse_clause("do")
            self._parse_clause("done")
            return While(line)
        if verb == "function":
            self._take_word(verb)
            name = self._parse_word()
            return Function(name[0].text if name else "", self._parse_braces(), line)
        return self._parse_command(line)

    def _parse_command(self, line: int) -> GrubCommand:
        words: List[Word] = []
        block: Optional[Block] = None
        while not self.done and self.peek not in ENDS:
            if self.peek == "{" and words and block is None:
                block = self._parse_braces()
                break
            if self.peek in ("{", "}"):
                break
            words.append(self._parse_word())
        if not words:
            raise ValueError(f"line {line}: unexpected `{self.peek}`")
        return GrubCommand(tuple(words), block, line)

    def _parse_if(self, line: int) -> If:
        branches: List[Tuple[Block, Block]] = []
        otherwise: Block = ()
        self._take_word("if")
        while True:
            condition = self._parse_clause("then")
            body = self.parse_block(frozenset(("elif", "else", "fi")))
            branches.append((condition, body))
            word = self.peek
            self._at += 1
            if word == "else":
                otherwise = self._parse_clause("fi")
            if word in ("else", "fi"):
                return If(tuple(branches), otherwise, line)
            if word != "elif":
                raise ValueError(f"line {line}: `if` without `fi`")

    def _parse_for(self, line: int) -> For:
        self._take_word("for")
        name = self._parse_word()
        self._take_word("in")
        words: List[Word] = []
        while not self.done and self.peek not in ENDS:
            words.append(self._parse_word())
        self._at += 1
        self._skip_newlines()
        self._take_word("do")
        return For(name[0].text if name else "", tuple(words), self._parse_clause("done"), line)

    def _parse_clause(self, end: str) -> Block:
        block = self.parse_block(frozenset((end,)))
        self._take_word(end)
        return block

    def _parse_braces(self) -> Block:
        self._skip_newlines()
        self._take_word("{")
        return self._parse_clause("}")

    def _take_word(self, word: str) -> None:
        if self.peek != word or self.done:
            raise ValueError(f"line {self.line}: expected `{word}`, not `{self.peek.strip()}`")
        self._at += 1

    def _parse_word(self) -> Word:
        if self.done or self._tokens[self._at].mark:
            raise ValueError(f"line {self.line}: expected a word")
        self._at += 1
        return self._tokens[self._at - 1].word


_CLOSING = frozenset(("then", "elif", "else", "fi", "do", "done", "}"))
