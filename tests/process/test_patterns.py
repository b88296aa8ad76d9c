"""Patterns of the config: what is accepted is linear, what is refused says what to write (E1 to E3 of process/patterns.py)."""
from __future__ import annotations

import importlib.util
import re

import pytest

from shipper.process.patterns import PatternError, compile_pattern

ENGINES = ["re", *(["google-re2"] if importlib.util.find_spec("re2") else [])]

HARMLESS = [
    "", "^a", "error|warn", r"key=(\S+)", r"\b(\w+)=(\d+)", r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", "[0-9a-f]{8}-[0-9a-f]{4}",
    r"^(\S+) (\S+) (\S+) \[([^\]]*)\] \"([^\"]*)\" (\d+) (\S+)", "error.*", r"^\d+ .*$", r"\bfoo\b", "(?i)password",
    r"^\[(?P<l>\w+)\] (?P<m>.*)$", "(?:GET|POST) /health", r"\w{1,64}@\w{1,64}\.com", "a$", "(?s)^a.*", "^(?:a|b)*c", r"^\s*at ",
    "^(?:[a-z]+ )*x", r"(?s)^(?P<level>[A-Z]+) +(?P<rest>.*)$", "^(?:Mon|Tue) [0-9:]+", "grün", "^.*x", r"^[^=]*=[^,]*,",
]
BLOWS_UP = [
    "(a+)+$", "(a|a)*b", "^(a|aa)*$", ".*.*x", "^.*.*x", r"\s*\s*$", r"\s+$", r"^(\w+\s?)*$", "^(a*)*b", r"\w+@x",
    "error.*timeout",
    "^(?:.*,){11}P", "(x+x+)+y", "^([a-z0-9]+)*$x", r"(\w{1,64}){1,64}@", "^a.{0,1000}.{0,1000}x", "(.*?,){3}x",
    r"^(([a-z])+.)+[A-Z]([a-z])+$", r"^(?:\s*\w+)*;", r"<a[^>]*>.*</a>", r"^\d+\d+\d+x", "(?i)(?:a|A)*b",
]
LACKING = [r"(a)\1", r"(?P<q>['\"]).*?(?P=q)", "a(?=b)", "a(?!b)", "(?<=a)b", "(?<!a)b", "(a)?(?(1)b|c)", "(?>a+)b", "a++b"]
WRONG = ["(", "[a", "*a", "a{2,1}", "(?x) a", "(?P<1>a)", "[[:alpha:]]", r"\pL", "(?i)é", "é+", "[é]", "a{1,100000}", "\ud800",
         "(" * 2000 + ")" * 2000, "a" * 5000]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("pattern", HARMLESS)
def test_an_ordinary_pattern_is_taken_by_both_engines(pattern: str, engine: str) -> None:
    compile_pattern(pattern, use=engine).search(b"\xff any bytes\n")


@pytest.mark.parametrize("pattern", BLOWS_UP)
def test_a_pattern_that_can_blow_up_is_refused_where_only_the_standard_engine_is_there(pattern: str) -> None:
    with pytest.raises(PatternError, match="shipper\\[re2\\]"):
        compile_pattern(pattern, use="re")


@pytest.mark.skipif("google-re2" not in ENGINES, reason="google-re2 is not installed")
@pytest.mark.parametrize("pattern", BLOWS_UP)
def test_a_pattern_that_can_blow_up_is_linear_or_refused_with_google_re2(pattern: str) -> None:
    try:
        compiled = compile_pattern(pattern, use="google-re2")
    except PatternError as error:
        assert "repetition" in str(error), "RE2 refuses only counts within counts"
        return
    small, large = (compiled.search(b"a" * count + b"!") for count in (12, 1_000_000))
    assert (small is None) == (large is None) == (re.search(pattern.encode(), b"a" * 12 + b"!") is None)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("pattern", LACKING)
def test_what_re2_lacks_is_refused_with_its_name_and_a_mend_whichever_engine_is_there(pattern: str, engine: str) -> None:
    with pytest.raises(PatternError, match="RE2 does not have it; "):
        compile_pattern(pattern, use=engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("pattern", WRONG, ids=lambda p: ascii(p[:12]))
def test_what_is_no_pattern_is_refused_and_nothing_else_is_raised(pattern: str, engine: str) -> None:
    with pytest.raises(PatternError):
        compile_pattern(pattern, use=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_end_of_the_text_is_the_same_in_both_engines(engine: str) -> None:
    for pattern in ("a$", r"a\Z", r"a\z"):
        assert compile_pattern(pattern, use=engine).search(b"xa") is not None
        assert compile_pattern(pattern, use=engine).search(b"a\n") is None
    assert compile_pattern("(?m)a$", use=engine).search(b"a\nb") is not None
    assert compile_pattern(r"[$]\$", use=engine).search(b"$$") is not None
