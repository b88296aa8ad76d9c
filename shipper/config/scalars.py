"""One YAML scalar to one value of the expected type; `${NAME}` from the environment. Pure.

Invariants:
  V1  the expected type decides; what YAML 1.1 would guess (no -> false, 12:30:00 -> 45000, 0644 -> 420) is refused,
      with "quote it", never taken
  V2  the environment is put in after parsing, so a value can never become YAML; it is text or what the type makes of it
  V3  no message holds a value that came from the environment, nor one of a key that is secret by its name (P9)
"""
from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .foreign import SOURCES
from .tree import Node

_REFERENCE = re.compile(r"\$(\$\{)|\$\{([^{}]*)\}|\$\{")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_BOOL_11 = re.compile(r"y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF|true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?([0-9]{1,18}(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_INT_11 = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)")
_FLOAT_11 = re.compile(r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9_]+)([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?")


class Unfit(ValueError):
    """The message says what is wrong with the value and the mend."""


class Scalar(NamedTuple):
    """`text` after the environment was put in; `names`: the variables that it came from."""

    text: str
    plain: bool
    names: tuple[str, ...]
    secret: bool

    @property
    def shown(self) -> str:
        """How messages may call it (V3)."""
        if self.names:
            return "the value of " + " ".join(f"${{{name}}}" for name in self.names)
        if self.secret:
            return "the value"
        return repr(self.text if len(self.text) <= 60 else self.text[:57] + "...")

    @property
    def is_null(self) -> bool:
        return self.plain and (self.text == "" if self.names else _NULL.fullmatch(self.text) is not None)


def expand(node: Node, environ: Mapping[str, str], secret: bool) -> Scalar:
    """The scalar of `node` with its variables put in. Unfit where one is not set (all of them are named)."""
    names: list[str] = []
    wrong: list[str] = []

    def put_in(found: re.Match[str]) -> str:
        if found[1]:
            return "${"
        inside = _INSIDE.fullmatch(found[2] or "")
        if inside is None:
            wrong.append("a ${ that is no variable; write ${NAME} or ${NAME:-default}, or $${ for a plain ${")
            return ""
        names.append(inside[1])
        value = environ.get(inside[1])
        if inside[2] is not None and not value:
            return inside[2]
        if value is None:
            wrong.append(f"the environment variable {inside[1]} is not set; set it, or write ${{{inside[1]}:-default}}")
            return ""
        if not value.isascii() and value.encode(errors="replace").decode() != value:
            wrong.append(f"the environment variable {inside[1]} is not UTF-8; set it to text")
        return value

    text = _REFERENCE.sub(put_in, node.text)
    if wrong:
        raise Unfit("; ".join(dict.fromkeys(wrong)))
    return Scalar(text, node.plain, tuple(dict.fromkeys(names)), secret)


def as_text(scalar: Scalar) -> str:
    """Text. Unfit for what YAML 1.1 would not read as text: whoever wrote it may mean the other thing."""
    if scalar.plain and not scalar.names:
        guess = _guess_of_yaml_11(scalar.text)
        if guess is not None:
            quoted = 'the value in "..."' if scalar.secret else f'"{scalar.text}"'
            if _NULL.fullmatch(scalar.text):
                raise Unfit("empty, and text is expected; give it a value or remove the key")
            raise Unfit(f"{scalar.shown} is {guess} in YAML 1.1, and text is expected; quote it: {quoted}")
    return scalar.text


def as_bool(scalar: Scalar) -> bool:
    found = _BOOL.get(scalar.text) if scalar.plain or scalar.names else None
    if found is None:
        raise Unfit(f"{scalar.shown} is not true or false; write true or false, without quotes")
    return found


def as_int(scalar: Scalar) -> int:
    if _INT.fullmatch(scalar.text):
        if not scalar.plain and not scalar.names:
            raise Unfit(f"{scalar.shown} is text, and a whole number is expected; remove the quotes")
        return int(scalar.text)
    raise Unfit(f"{scalar.shown} is not a whole number; {_number_mend(scalar)}")


def as_float(scalar: Scalar) -> float:
    if _FLOAT.fullmatch(scalar.text) and (scalar.plain or scalar.names):
        return float(scalar.text)
    raise Unfit(f"{scalar.shown} is not a number; {_number_mend(scalar)}")


def as_custom(scalar: Scalar, cls: Any) -> Any:
    """A value of a class with `parse` (units.py), whose ValueError says what is wrong."""
    value: object = scalar.text
    if scalar.plain or scalar.names:
        if _INT.fullmatch(scalar.text):
            value = int(scalar.text)
        elif scalar.plain and scalar.text in _BOOL:
            value = _BOOL[scalar.text]
    try:
        return cls.parse(value)
    except (ValueError, OverflowError) as error:
        message = str(error)
        if scalar.names or scalar.secret:
            message = message.replace(repr(value), scalar.shown)
            if scalar.text and scalar.text in message.replace(scalar.shown, ""):
                message = f"{scalar.shown} is not a {cls.__name__}"
        raise Unfit(message) from None


def as_one_of(scalar: Scalar, choices: Iterable[Any]) -> Any:
    """The choice that is written the same way. `off` among the choices is fine: nothing is guessed."""
    by_text = {str(choice): choice for choice in choices}
    if scalar.text in by_text:
        return by_text[scalar.text]
    meant = SOURCES.get(scalar.text)
    close = f"; did you mean {meant!r}?" if meant in by_text else suggest(scalar.text, by_text)
    raise Unfit(f"{scalar.shown} is not one of {', '.join(by_text)}{'' if scalar.names else close}")


def as_any(scalar: Scalar) -> Any:
    """Where any value may stand: what YAML 1.2 says, and Unfit where 1.1 would have said something else."""
    if not scalar.plain or scalar.names:
        return scalar.text
    if scalar.is_null:
        return None
    if scalar.text in _BOOL:
        return _BOOL[scalar.text]
    if _INT.fullmatch(scalar.text):
        return int(scalar.text)
    if _FLOAT.fullmatch(scalar.text) and _FLOAT_11.fullmatch(scalar.text):
        return float(scalar.text)
    return as_text(scalar)


def suggest(word: str, known: Iterable[str]) -> str:
    """"; did you mean 'x'?" or nothing."""
    known, word = list(known), word[:64].lower().replace("-", "_")
    close = difflib.get_close_matches(word, known, 1, 0.6) or \
        [name for name in known if word.startswith(f"{name}_") or word.endswith(f"_{name}")]
    return did_you_mean(close[0]) if close else ""


def did_you_mean(word: str) -> str:
    return f"; did you mean {word!r}?"


def _guess_of_yaml_11(text: str) -> str | None:
    if _NULL.fullmatch(text):
        return "nothing"
    if _BOOL_11.fullmatch(text):
        return "true or false"
    if _SEXAGESIMAL.fullmatch(text):
        return "a number to base 60"
    if _INT_11.fullmatch(text) or _FLOAT_11.fullmatch(text):
        return "a number"
    if _DATE.fullmatch(text):
        return "a date"
    return None


def _number_mend(scalar: Scalar) -> str:
    if scalar.names or scalar.secret:
        return "give digits only, for example 5"
    if re.fullmatch(r"[-+]?0[0-9_]+", scalar.text):
        return f"YAML 1.1 reads the leading 0 as octal; write {scalar.text.lstrip('+-0_') or '0'}"
    if _SEXAGESIMAL.fullmatch(scalar.text):
        return "YAML 1.1 reads it to base 60; write the number in digits"
    return "write digits only, for example 5"
