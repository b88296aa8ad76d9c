"""What can be said about globs without files."""
import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.config.patterns import excluded, intersect, static_prefix


@pytest.mark.parametrize(("pattern", "want"), [
    ("/var/log/syslog", "/var/log"), ("/var/log/*.log", "/var/log"), ("/var/*/x/y.log", "/var"), ("/*.log", "/"),
    ("/var/log/**/x", "/var/log"), ("/x", "/"), ("/a//b/?.log", "/a/b"),
])
def test_the_static_prefix_is_the_directory_before_the_first_wildcard(pattern, want):
    assert static_prefix(pattern) == want


@pytest.mark.parametrize(("left", "right", "want"), [
    ("/var/log/*.log", "/var/log/syslog", False), ("/var/log/*", "/var/log/syslog", True), ("/a/*/c", "/a/b/*", True),
    ("/a/*", "/a/b/c", False), ("/a/**", "/a/b/c", True), ("/a/**/c", "/a/c", True), ("/a/?.log", "/a/b.log", True),
    ("/a/?.log", "/a/bb.log", False), ("/a/[xy].log", "/a/x.log", True),
    ("/a/*x", "/a/y*", True), ("/a", "/a", True), ("/a", "/b", False),
])
def test_two_patterns_meet_where_one_path_can_match_both(left, right, want):
    assert intersect(left, right) is want
    assert intersect(right, left) is want


@given(st.text("ab/*?", max_size=6), st.text("ab/*?", max_size=6), st.text("ab", max_size=6))
def test_patterns_that_match_one_name_are_never_called_apart(left, right, name):
    if fnmatch.fnmatchcase(name, left) and fnmatch.fnmatchcase(name, right):
        assert intersect(left, right)


def test_long_patterns_cost_no_recursion():
    assert intersect("/" + "a*" * 300, "/" + "*a" * 300)
    assert not intersect("/" + "a" * 5000, "/" + "a" * 5000 + "b")


@pytest.mark.parametrize(("path", "globs", "want"), [
    ("/var/log/x.log", ["x.*"], True), ("/var/log/x.log", ["/var/*"], True), ("/var/log/x.log", ["/opt/*", "y*"], False),
])
def test_an_exclude_without_a_slash_is_for_the_name_alone(path, globs, want):
    assert excluded(path, globs) is want
