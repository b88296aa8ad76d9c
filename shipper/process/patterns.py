"""Regular expressions of the config: one language, linear time, whichever engine is installed.

    text ─► parsed (standard `re`) ─► refused: what RE2 lacks ─► google-re2 where installed
                                                              └► standard `re`, if it cannot blow up (_blow_up.py)

Invariants (tests/process/test_patterns.py):
  E1  a pattern that compiles searches any bytes in time linear in their length
  E2  what is accepted means the same with google-re2 and without: the language is what both have, on bytes
  E3  nothing but PatternError is raised; its text names the mend. Searching never raises
Plane: once per pattern of the config; searching is the hot path's.
"""
from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Protocol

from ._automaton import UNBOUNDED
from ._blow_up import EXPONENTIAL, POLYNOMIAL, RESTARTED, TOO_MANY, blow_up

LONGEST_PATTERN = 4096
MOST_REPEATS = 1000
"""RE2's own limit for {m,n}."""

RE2_MEMORY_BYTES = 8 << 20


class PatternError(ValueError):
    """A pattern that is not accepted; the message says why and what to write."""


class BytesMatch(Protocol):
    """What re.Match and re2's match have in common, as far as it is used here."""

    def start(self, group: int = 0) -> int: ...
    def end(self, group: int = 0) -> int: ...
    def group(self, *groups: Any) -> Any: ...
    def groups(self) -> tuple[Any, ...]: ...
    def groupdict(self) -> dict[str, Any]: ...


class BytesPattern(Protocol):
    """What re.Pattern and re2's pattern have in common."""

    @property
    def groups(self) -> int: ...
    @property
    def groupindex(self) -> Any: ...
    def search(self, text: bytes) -> BytesMatch | None: ...
    def match(self, text: bytes) -> BytesMatch | None: ...
    def fullmatch(self, text: bytes) -> BytesMatch | None: ...
    def finditer(self, text: bytes) -> Iterator[BytesMatch]: ...
    def sub(self, repl: bytes | Callable[[Any], bytes], text: bytes) -> bytes: ...


def engine() -> str:
    """"google-re2" or "re": what compile_pattern uses on this host."""
    try:
        import re2  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
    except ImportError:
        return "re"
    return "google-re2"


def compile_pattern(text: str, *, use: str | None = None) -> BytesPattern:
    """`text` as a pattern on bytes (UTF-8). `use`: see `engine`. PatternError with the mend. Each log file asks for its own."""
    return _compiled(text, use or engine())


@lru_cache(maxsize=256)
def _compiled(text: str, use: str) -> BytesPattern:
    """A proof takes 5 to 30 ms where an expression has twenty groups: not once for each of 5,000 files."""
    if len(text) > LONGEST_PATTERN:
        raise PatternError(f"the pattern is longer than {LONGEST_PATTERN} characters; split it")
    if text.startswith("/^") or text.endswith("$/"):
        raise PatternError("the slashes around it would be part of the text that is looked for; leave them out")
    tree = tree_of(text)
    _same_in_both(tree, text)
    if use == "google-re2":
        return _with_re2(text)
    problem = blow_up(tree)
    if problem is not None:
        raise PatternError(f"{problem}; {_mend_of(text, problem)}, or install google-re2 (pip install 'shipper[re2]'), "
                           "which is linear for every pattern")
    return re.compile(_for_engine(text, "re").encode())


def _mend_of(text: str, problem: str) -> str:
    """What to write: the whole pattern where one is found, else how."""
    from ._mend import mended

    def is_proven(candidate: str) -> bool:
        try:
            return blow_up(tree_of(candidate)) is None
        except PatternError:
            return False

    found = mended(text, is_proven)
    return f"write {found}" if found is not None else _MENDS.get(problem, _SIMPLER)


_SIMPLER = "write a simpler one"
_MENDS = {
    EXPONENTIAL: r"write it without the inner repeat (\w+ for (\w+)*), or with parts that cannot match the same text",
    POLYNOMIAL: r"write what cannot stand between them ([^ ]* for .*), a count ({0,100} for *), or leave out a $ behind .*",
    RESTARTED: r"begin it with ^ or \b, or write a count ({1,100} for +)",
    TOO_MANY: "lower the counts",
}


def tree_of(text: str) -> Any:
    """The standard `re`'s tree of a pattern that compile_pattern takes."""
    return _parsed(_for_engine(text, "re"))


def _parsed(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return _parser.parse(text.encode())
    except re.error as error:
        raise PatternError(f"not a regular expression: {error}; correct it, or put a backslash before signs that are meant as "
                           "text") from None
    except (FutureWarning, DeprecationWarning) as error:
        raise PatternError(f"{error}: engines differ about it; write sets such as [A-Za-z] out and put a backslash before [ & ~ "
                           "| - inside [...]") from None
    except (RecursionError, OverflowError, UnicodeEncodeError):
        raise PatternError("nested too deeply, or a count is too large, or not UTF-8; simplify it") from None


_LACKING = {
    "GROUPREF": r"a backreference (\1, (?P=name))", "GROUPREF_EXISTS": "a conditional group (?(1)...)",
    "ASSERT": "a look-ahead or look-behind (?=...)", "ASSERT_NOT": "a negative look-ahead or look-behind (?!...)",
    "ATOMIC_GROUP": "an atomic group (?>...)", "POSSESSIVE_REPEAT": "a possessive repeat (*+, ++)",
}
_LACKING_MENDS = {
    "GROUPREF": "write the alternatives out", "GROUPREF_EXISTS": "write both alternatives with |",
    "ASSERT": "match the neighbours too and put what is wanted into a group (...)",
    "ASSERT_NOT": "write what may stand there instead, for example [^x]",
    "ATOMIC_GROUP": "use an ordinary group (?:...)", "POSSESSIVE_REPEAT": "use an ordinary repeat",
}


def _same_in_both(tree: Any, text: str) -> None:
    """E2."""
    if tree.state.flags & (re.VERBOSE | re.LOCALE | re.ASCII):
        raise PatternError("only the flags i, m and s are known in both engines; leave out x, a and L")
    for name, value, repeated in _nodes(tree, False):
        if name in _LACKING:
            raise PatternError(f"{_LACKING[name]} cannot be matched in linear time, and RE2 does not have it; "
                               f"{_LACKING_MENDS[name]}")
        if name.endswith("_REPEAT") and (value[0] > MOST_REPEATS or (value[1] != UNBOUNDED and value[1] > MOST_REPEATS)):
            raise PatternError(f"a count over {MOST_REPEATS}; lower it, or write * or +")
        outside = name in ("LITERAL", "NOT_LITERAL") and value > 127 and (repeated or tree.state.flags & re.IGNORECASE)
        if outside or (name == "IN" and any(str(n) in ("LITERAL", "RANGE") and _highest(v) > 127 for n, v in value)):
            raise PatternError("patterns match bytes, and a letter outside ASCII is several: it cannot stand in [...], be "
                               "repeated alone or be matched without regard to case; write (?:é|è), (?:é)+ or both cases")


def _highest(value: Any) -> int:
    return int(max(value) if isinstance(value, tuple) else value)


def _nodes(tree: Any, repeated: bool) -> Iterator[tuple[str, Any, bool]]:
    """Every node: its name, its value, and whether it alone is repeated."""
    alone = len(tree) == 1 and repeated
    for operation, value in tree:
        name = str(operation)
        yield name, value, alone
        if name == "BRANCH":
            for branch in value[1]:
                yield from _nodes(branch, False)
        elif name == "SUBPATTERN":
            yield from _nodes(value[3], False)
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            yield from _nodes(value[2], True)


_TOKEN = re.compile(r"\\.|\(\?<(?=[A-Za-z_])|\[\^?\]?(?:\\.|[^\]\\])*\]|\$|.", re.DOTALL)
_FLAG_M = re.compile(r"\(\?[a-zA-Z]*m")


def _for_engine(text: str, name: str) -> str:
    r"""\z and \Z, and `$` outside (?m), are the end of the text in both engines (alone, `re` also takes `$` for the place
    before a newline at the end). (?<name>...), as Ruby, Go and Rust write it, is (?P<name>...)."""
    end = r"\Z" if name == "re" else r"\z"
    ends = {r"\z", r"\Z"} if _FLAG_M.search(text) else {r"\z", r"\Z", "$"}
    return "".join(end if token in ends else "(?P<" if token == "(?<" else token for token in _TOKEN.findall(text))


def _with_re2(text: str) -> BytesPattern:
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = RE2_MEMORY_BYTES
    try:
        found: BytesPattern = re2.compile(_for_engine(text, "google-re2").encode(), options)
        return found
    except re2.error as error:
        why = error.args[0] if error.args else error
        why = why.decode(errors="replace") if isinstance(why, bytes) else why
        raise PatternError(f"google-re2 does not take it: {why}; write it simpler") from None
