"""Fields as flat pairs. FL: encode/flat.py."""
import re

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.encode.flat import flat

OWN = ("id", "pod_uid")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=4), max_leaves=12)


def leaves(value):
    if isinstance(value, dict) and value:
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    return [value if isinstance(value, str) else orjson.dumps(value).decode()]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=6), JSON, max_size=5))
def test_fl1_fl2_every_leaf_is_there_under_a_name_that_can_be_used(fields):
    found = flat(orjson.dumps(fields), OWN, most=50, most_bytes=10_000)
    if found is not None:
        assert sorted(found.values()) == (sorted(leaves(fields)) if fields else [])
        assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) and name not in OWN for name in found)


def test_names_that_are_taken_or_cannot_begin_so():
    found = flat(b'{"id":1,"pod":{"uid":"x"},"_a":2,"9":3,"":4,"\\u00e4":5}', OWN, most=50, most_bytes=1000)
    assert found is not None
    assert found == {"fields_id": "1", "fields_pod_uid": "x", "fields__a": "2", "fields_9": "3", "fields_": "4", "fields__": "5"}


@pytest.mark.parametrize(("fields", "fits"), [
    ({f"f{i}": i for i in range(50)}, True), ({f"f{i}": i for i in range(51)}, False), ({"a.b": 1, "a_b": 2}, False),
    ({"a": {"b": 1}, "a_b": 2}, False), ({"x": "y" * 999}, True), ({"x": "y" * 1000}, False),
    ({"p" * 500: {"a": 1, "b": 1}}, False), ({"x": "ä" * 499}, True), ({"x": "ä" * 500}, False), ({"x": "\x00" * 999}, True),
])
def test_bounds(fields, fits):
    assert (flat(orjson.dumps(fields), OWN, most=50, most_bytes=1000) is not None) == fits


def test_what_is_nested_deep_is_a_text_and_costs_no_stack():
    deep = b'{"a":' * 200 + b"1" + b"}" * 200
    found = flat(deep, OWN, most=50, most_bytes=10_000)
    assert found is not None and list(found) == ["_".join("a" * 17)]
