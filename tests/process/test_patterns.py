"""Patterns of the config: what is accepted is linear, what is refused says what to write (E1 to E3 of process/patterns.py)."""
from __future__ import annotations

import importlib.util
import random
import re
import time

import pytest

from shipper.config.processing import ParseRegex
from shipper.model import Source
from shipper.process import patterns
from shipper.process._blow_up import blow_up
from shipper.process.parse import parse_step
from shipper.process.patterns import PatternError, compile_pattern

from .well_known import WELL_KNOWN

ENGINES = ["re", *(["google-re2"] if importlib.util.find_spec("re2") else [])]

HARMLESS = [
    "", "^a", "error|warn", r"key=(\S+)", r"\b(\w+)=(\d+)", r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", "[0-9a-f]{8}-[0-9a-f]{4}",
    r"^(\S+) (\S+) (\S+) \[([^\]]*)\] \"([^\"]*)\" (\d+) (\S+)", "error.*", r"^\d+ .*$", r"\bfoo\b", "(?i)password",
    r"^\[(?P<l>\w+)\] (?P<m>.*)$", "(?:GET|POST) /health", r"\w{1,64}@\w{1,64}\.com", "a$", "(?s)^a.*", "^(?:a|b)*c", r"^\s*at ",
    "^(?:[a-z]+ )*x", r"(?s)^(?P<level>[A-Z]+) +(?P<rest>.*)$", "^(?:Mon|Tue) [0-9:]+", "grün", "^.*x", r"^[^=]*=[^,]*,",
    r"^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d) ",                  # the IPv4 address of every cookbook
    r"\b(?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\.){3}(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\b",
]
BLOWS_UP = [
    "(a+)+$", "(a|a)*b", "^(a|aa)*$", ".*.*x", "^.*.*x", r"\s*\s*$", r"\s+$", r"^(\w+\s?)*$", "^(a*)*b", r"\w+@x",
    "error.*timeout",
    "^(?:.*,){11}P", "(x+x+)+y", "^([a-z0-9]+)*$x", r"(\w{1,64}){1,64}@", "^a.{0,1000}.{0,1000}x", "(.*?,){3}x",
    r"^(([a-z])+.)+[A-Z]([a-z])+$", r"^(?:\s*\w+)*;", r"<a[^>]*>.*</a>", r"^\d+\d+\d+x", "(?i)(?:a|A)*b",
    "^(?:,[^;]*){8}", "^(?:,[^;]*){9}", "^(?:,[^;]*){18}", "^(?: [^;]*){12,}",
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


WRITE = re.compile(r"; write (.*), or install google-re2", re.DOTALL)


def groups_of(pattern: str, line: bytes, engine: str) -> dict[str, bytes | None] | None:
    found = compile_pattern(pattern, use=engine).search(line)
    return None if found is None else {
        name.decode() if isinstance(name, bytes) else name: value for name, value in found.groupdict().items()}


def for_the_standard_engine(pattern: str, by_hand: str | None) -> str:
    """The pattern itself, what `check` says to write, or what the docs say."""
    try:
        compile_pattern(pattern, use="re")
        return pattern
    except PatternError as error:
        found = WRITE.search(str(error))
        assert found is not None
        if by_hand is not None:
            assert "(?<" not in found[1], "check finds a mend by itself now; take the one by hand away"
            return by_hand
        return found[1]


@pytest.mark.skipif("google-re2" not in ENGINES, reason="google-re2 is not installed")
@pytest.mark.parametrize(("pattern", "line"), [each[1:3] for each in WELL_KNOWN], ids=[each[0] for each in WELL_KNOWN])
def test_what_people_bring_along_is_taken_with_google_re2(pattern: str, line: bytes) -> None:
    assert groups_of(pattern, line, "google-re2")


@pytest.mark.parametrize(("pattern", "line", "by_hand"), [each[1:] for each in WELL_KNOWN], ids=[each[0] for each in WELL_KNOWN])
def test_what_people_bring_along_is_taken_by_the_standard_engine_or_the_message_says_what_to_write(
    pattern: str, line: bytes, by_hand: str | None,
) -> None:
    """The same groups with the same texts come out of what is written instead."""
    as_it_was = re.search(re.sub(r"\(\?<(?=[a-zA-Z])", "(?P<", pattern).encode(), line)
    assert as_it_was is not None
    found = groups_of(for_the_standard_engine(pattern, by_hand), line, "re")
    assert found is not None
    if by_hand is not None:                               # what is empty may be left out there
        assert {name: text for name, text in found.items() if text} == {n: t for n, t in as_it_was.groupdict().items() if t}
    else:
        assert found == as_it_was.groupdict()


@pytest.mark.parametrize(("pattern", "line", "by_hand"), [each[1:] for each in WELL_KNOWN], ids=[each[0] for each in WELL_KNOWN])
def test_what_is_written_instead_costs_no_more_than_linear_time(pattern: str, line: bytes, by_hand: str | None) -> None:
    """Each separator of the line, alone and with a letter, 4,000 times: the square would be a second or more, a cube an hour."""
    search = compile_pattern(for_the_standard_engine(pattern, by_hand), use="re").search
    begin_s = time.process_time()
    for at in [index for index, byte in enumerate(line) if not chr(byte).isalnum()][:60]:
        for unit in (line[at : at + 1], line[at : at + 2], b" ", b"\t"):
            search(line[: at + 1] + unit * 4000 + b"\n")
    assert time.process_time() - begin_s < 15.0


def test_the_slashes_of_another_agents_config_are_told_from_the_pattern() -> None:
    with pytest.raises(PatternError, match="leave them out"):
        compile_pattern(r"/^(?<host>[^ ]*) (?<message>.*)$/")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_named_group_without_p_is_a_named_group(engine: str) -> None:
    assert groups_of(r"^(?<a>\w)[(?<]\(\?<", b"x(?<", engine) is None
    assert groups_of(r"^(?<a>\w)[(?<]\(\?<", b"x((?<", engine) == {"a": b"x"}


def test_counts_that_would_cost_seconds_a_line_are_refused() -> None:
    """99 times 99 ways at each byte: 48 s for 200 kB of blanks."""
    for pattern in (r'^"(\S+)(?: {1,99}([^"]{0,99}?)(?: +\S*)?)?" (\d+)$', r"^(?:(?:\s{0,9}){0,9})$",
                    r"(?:(?:\w{1,3})?){0,9}[ab]{2}x",
                    r"^(?:a{0,30}){0,30}b", r"^(?:\d\d?){30}x", r"^(?: ?\s){24}x", r"(?:a|aa){12}\wx",
                    r"^(?:a(?:ba)*|b){40}", r"^(?: ?\s){9}x", r"^(?:\d\d?\d?){6}x"):
        with pytest.raises(PatternError):
            compile_pattern(pattern, use="re")


def test_five_thousand_files_with_the_same_pattern_cost_one_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    proofs: list[object] = []
    monkeypatch.setattr(patterns, "blow_up", lambda tree: proofs.append(tree))
    settings = ParseRegex(regex=r"^(?<only>here) (?<message>.*)$")
    monkeypatch.setattr(patterns, "engine", lambda: "re")
    for _ in range(5000):
        parse_step(settings, Source("files", "f", "/x", "/x", "n1"))
    assert len(proofs) == 1


ATOMS = ["a", "b", " ", r"\w", r"\s", r"\S", "[^ ]", "[^b]", ".", "[ab]", r"\d", '[^"]', '"']
REPEATS = ["", "", "*", "+", "?", "*?", "+?", "{0,9}", "{1,3}", "{2}", "{12}", "{20,}"]
UNITS = [b"a", b"b", b" ", b'"', b"ab", b"a ", b"  ", b"ba", b'a"', b"1", b"\t"]


def any_pattern(rnd: random.Random, depth: int = 0) -> str:
    out = ""
    for _ in range(rnd.randint(1, 4)):
        kind = rnd.random()
        if kind < 0.05:
            out += rnd.choice([r"\b", "^", "$"])
            continue
        inner = rnd.choice(ATOMS)
        if depth < 2 and kind < 0.35:
            inner = f"(?:{any_pattern(rnd, depth + 1)})" if kind < 0.25 else (
                f"(?:{any_pattern(rnd, depth + 1)}|{any_pattern(rnd, depth + 1)})")
        out += inner + rnd.choice(REPEATS)
    return out


@pytest.mark.parametrize("patterns_tried", [150, pytest.param(20_000, marks=pytest.mark.long)])
def test_no_pattern_that_is_taken_takes_long_on_any_repeated_text(patterns_tried: int) -> None:
    """Found by it: counts in counts that were taken, and would have run for years on 4,000 tabs."""
    rnd, taken = random.Random(patterns_tried), 0
    for _ in range(patterns_tried):
        pattern = ("^" if rnd.random() < 0.4 else "") + any_pattern(rnd) + rnd.choice(["", "x", "$", '"x'])
        try:
            if blow_up(patterns.tree_of(pattern)) is not None:
                continue
        except PatternError:
            continue
        search = compile_pattern(pattern, use="re").search
        taken += 1
        for _ in range(6):
            front, unit = b"".join(rnd.choices(UNITS, k=rnd.randint(0, 3))), rnd.choice(UNITS)
            end = rnd.choice([b"", b"!", b"\n", b"x", b"!x"])
            for count in (16, 24, 32, 100, 1000, 8000):
                begin_s = time.process_time()
                search(front + unit * count + end)
                assert time.process_time() - begin_s < 1.0, (pattern, front, unit, count, end)
    assert taken > patterns_tried / 5
