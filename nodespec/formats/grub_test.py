"""Evaluate GRUB's command `test`; the truth may be unknown.

The grammar is that of grub-core/commands/test.c: `-a` may be omitted, `-o` binds weaker, `!` negates the next test.
"""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple, TypeAlias

ANY = "\ufffc"  # A placeholder for text that only the machine knows.
Kind: TypeAlias = "Callable[[str], Optional[str]]"
Truth: TypeAlias = "Optional[bool]"
MAX_DIGITS = 18

_FILES = {"-d": ("directory",), "-e": ("file", "empty", "directory"), "-f": ("file", "empty"), "-s": ("file",)}
_EQUAL, _UNEQUAL = ("=", "=="), ("!=",)
_NUMBERS = ("-eq", "-ne", "-lt", "-le", "-gt", "-ge")
_ORDERS = ("<", "<=", ">", ">=")
_BINARIES = frozenset((*_EQUAL, *_UNEQUAL, *_NUMBERS, *_ORDERS, "-pgt", "-plt"))
_BINARY, _UNARY = 3, 2  # Words of a test.


def evaluate_test(arguments: List[str], kind: Kind) -> Truth:
    """Return whether `"${x}" = 1 -a -f /grub/x ]` holds; None if not known."""
    if arguments and arguments[-1] == "]":
        arguments = arguments[:-1]
    return _parse_expression(arguments, 0, kind)[0]


def _parse_expression(arguments: List[str], at: int, kind: Kind) -> Tuple[Truth, int]:
    either: Truth = False
    both: Truth = True
    invert = False
    while at < len(arguments):
        word = arguments[at]
        result, size = _evaluate_primary(arguments[at : at + _BINARY], kind)
        if not size and word == ")":
            return _join_or(either, both), at + 1
        if not size and word in ("!", "-a", "-o"):
            invert = invert != (word == "!")
            if word == "-o":
                either, both = _join_or(either, both), True
            at += 1
            continue
        if not size and word == "(":
            result, at = _parse_expression(arguments, at + 1, kind)
        elif not size:
            result, at = _is_filled(word), at + 1
        else:
            at += size
        both = _join_and(both, _negate_truth(result) if invert else result)
        invert = False
    return _join_or(either, both), at


def _evaluate_primary(words: List[str], kind: Kind) -> Tuple[Truth, int]:
    """Return the truth of a test and its length in words; 0 if no test begins here."""
    if len(words) == _BINARY and (words[1] in _BINARIES or words[1][:3] in ("-nt", "-ot")):
        return _compare_words(*words), _BINARY
    if len(words) >= _UNARY and words[0] in _FILES:
        return _test_file(words[1], _FILES[words[0]], kind), _UNARY
    if len(words) >= _UNARY and words[0] in ("-n", "-z"):
        filled = _is_filled(words[1])
        return filled if words[0] == "-n" else _negate_truth(filled), _UNARY
    return None, 0


def _compare_words(left: str, operator: str, right: str) -> Truth:
    if operator in _EQUAL:
        return _compare_equal(left, right)
    if operator in _UNEQUAL:
        return _negate_truth(_compare_equal(left, right))
    return _compare_order(left, operator, right) if operator in _ORDERS or operator in _NUMBERS else None


def _test_file(path: str, kinds: Tuple[str, ...], kind: Kind) -> Truth:
    if ANY in path.rpartition(")")[2]:
        return None
    result = kind(path)
    return None if result is None else result in kinds


def _is_filled(text: str) -> Truth:
    """Return whether a text has any characters."""
    return None if text and not text.replace(ANY, "") else bool(text)


def _compare_equal(left: str, right: str) -> Truth:
    if ANY not in left and ANY not in right:
        return left == right
    for first, second in ((left, right), (right, left)):
        start, _, end = first.partition(ANY)
        end = end.rpartition(ANY)[2]
        whole = ANY in first and ANY not in second
        if whole and not (second.startswith(start) and second.endswith(end) and len(second) >= len(start) + len(end)):
            return False
    return None


def _compare_order(left: str, operator: str, right: str) -> Truth:
    if ANY in left or ANY in right:
        return None
    if operator in _NUMBERS:
        numbers = _parse_number(left), _parse_number(right)
        if numbers[0] is None or numbers[1] is None:
            return None
        sign = (numbers[0] > numbers[1]) - (numbers[0] < numbers[1])
    else:
        sign = (left > right) - (left < right)
    wanted = {"-eq": (0,), "-ne": (-1, 1), "-lt": (-1,), "-le": (-1, 0), "-gt": (1,), "-ge": (0, 1)}
    names: Dict[str, str] = dict(zip(_ORDERS, ("-lt", "-le", "-gt", "-ge")))
    return sign in wanted[names.get(operator, operator)]


def _parse_number(text: str) -> Optional[int]:
    digits = text.lstrip("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > MAX_DIGITS or digits[:1] == "0" != digits:
        return None
    return int(text) if text.count("-") < _UNARY else None


def _negate_truth(truth: Truth) -> Truth:
    return None if truth is None else not truth


def _join_and(left: Truth, right: Truth) -> Truth:
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def _join_or(left: Truth, right: Truth) -> Truth:
    return _negate_truth(_join_and(_negate_truth(left), _negate_truth(right)))
