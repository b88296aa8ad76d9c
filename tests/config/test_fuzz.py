"""Whatever the bytes: a config or Usage, never another error (L1)."""
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.loader import MAX_CONFIG_BYTES, Loaded, load_text
from shipper.config.secrets import redacted
from shipper.errors import Usage
from tests.config.fake_sink import find

_KEYS = """sources sinks type include exclude when labels node buffer max_size admin listen log state_dir address token port
previously tls headers anything one_or_more a b"""
_TEXTS = "containers files fake /x/*.log /x/** 1MiB 5s no null ~ 0644 12:30:00 1e5 -1 true ${A} ${B:-x} $${C} ${"
_SYNTAX = """'' " ' &a *a << !!str --- ... | > ? : [ ] { } , [[[[[[[["""
KEYS, TEXTS = _KEYS.split(), _TEXTS.split()
SYNTAX = [
    *_SYNTAX.split(), "%YAML 1.1", "# c", "\t", "\x00", "\x85", "\u2028", "é", "\ufeff", "- ", ": ", "\n", "\n  ", "\n    ",
    "9" * 30,
]


def check(text):
    try:
        found = load_text(text, "c.yaml", {"A": "1\n2: \udcff", "C": "x"}, find_sink=find)
    except Usage as error:
        assert str(error).startswith("c.yaml:")
        assert all(line.isprintable() for line in str(error).splitlines())
    else:
        assert isinstance(found, Loaded)
        redacted(found.config)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.binary()))
def test_any_text_or_bytes(text):
    check(text)


@settings(max_examples=700, deadline=None)
@given(st.lists(st.sampled_from(KEYS + TEXTS + SYNTAX), max_size=40))
def test_any_mixture_of_what_configs_are_made_of(words):
    check("".join(words))


VALUES = st.recursive(
    st.sampled_from(KEYS + TEXTS) | st.integers() | st.floats() | st.booleans() | st.none(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(KEYS), below, max_size=4), max_leaves=12)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6), VALUES, VALUES)
def test_any_values_at_any_keys(top, source, sink):
    check(json.dumps({**top, "sources": {"c": source}, "sinks": {"o": sink}}))
    check(json.dumps({"sources": {"c": {"type": "files", "include": source}}, "sinks": {"o": {"type": "fake", "address": sink}}}))


@pytest.mark.parametrize("text", [
    "[" * 100_000, "{a: " * 50_000, "- " * 100_000, "a: " + "&a [" * 5000, "? " * 50_000, "a\n" * 100_000, "&a *a " * 20_000,
    "\n".join(f"k{i}: 1" for i in range(19_000)), "a: '" + "${A}" * 50_000 + "'",
    "x" * MAX_CONFIG_BYTES, "x" * (MAX_CONFIG_BYTES + 1),
])
def test_hostile_shapes_end_in_a_message_not_in_a_crash(text):
    check(text)
