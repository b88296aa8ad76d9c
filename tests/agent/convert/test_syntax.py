"""Y1, Y2: fluentd's config format."""
from __future__ import annotations

import pytest

from shipper.agent.convert.syntax import environment, parse, truth
from shipper.errors import Usage


def only(text: str) -> dict[str, str]:
    (element,) = parse(text, "f.conf").children
    return {key: param.value for key, param in element.params.items()}


def test_sections_nest_and_each_knows_its_line():
    (match,) = parse("# c\n<match a.** {b,c}>\n  @type copy\n  <store>\n    @type null\n  </store>\n</match>\n",
                     "f.conf").children
    (store,) = match.children
    assert (match.name, match.arg, match.place, store.place, store.type) == ("match", "a.** {b,c}", "f.conf:2", "f.conf:4",
                                                                             "null")


@pytest.mark.parametrize(("value", "found"), [
    ("plain value", "plain value"),
    ("plain # a comment", "plain"),
    ("/^a #b/", "/^a #b/"),
    ("/var/log/containers/*.log          # all of them", "/var/log/containers/*.log"),
    ("/var/log/a.log # rotated into /var/log/old/", "/var/log/a.log"),
    ("/^(?<log>.*)$/i   # see /etc/x/", "/^(?<log>.*)$/i"),
    ("/var/log/a.log#1", "/var/log/a.log#1"),
    (r'"with \"quotes\" and \t"', 'with "quotes" and \t'),
    ("'as it \\stands'", "as it \\stands"),
    ('"#{ENV[\'HOST\']}:1"', "${HOST}:1"),
    ('"#{ENV["HOST"] || "localhost"}"', "${HOST:-localhost}"),
    ('"#{ENV.fetch(\'HOST\', \'h\')}"', "${HOST:-h}"),
    ('[{ "_SYSTEMD_UNIT": "a" },\n    { "_SYSTEMD_UNIT": "b" }]', '[{ "_SYSTEMD_UNIT": "a" },\n    { "_SYSTEMD_UNIT": "b" }]'),
    ('"two\nlines"', "two\nlines"),
    ('[{ "_SYSTEMD_UNIT": "a" }]   # the unit', '[{ "_SYSTEMD_UNIT": "a" }]'),
    ('["/a", # first\n    "/b#1"] # both', '["/a",\n    "/b#1"]'),
    ('{"a": "x #y"}', '{"a": "x #y"}'),
    ("{{ filled_in_elsewhere }}.service", "{{ filled_in_elsewhere }}.service"),
    ("[^a]", "[^a]"),
    ("", ""),
])
def test_values(value: str, found: str):
    assert only(f"<a>\n  key {value}\n  next 1\n</a>\n") == {"key": found, "next": "1"}


def test_keys_may_be_quoted():
    assert only('<a>\n  "logging.googleapis.com/x" 1\n</a>\n') == {"logging.googleapis.com/x": "1"}


@pytest.mark.parametrize(("text", "message"), [
    ("<a>\n", "f.conf:1: <a> is never closed"),
    ("<a>\n</b>\n", "f.conf:2: </b> closes nothing that is open"),
    ('<a>\n  k "never closed\n', "f.conf:2: a string that is never closed"),
    ("<a\n", "f.conf:1: neither a directive nor a parameter"),
])
def test_what_is_no_config_is_refused_with_its_line(text: str, message: str):
    with pytest.raises(Usage) as refused:
        parse(text, "f.conf")
    assert message in str(refused.value)


def test_what_nobody_took_is_left_and_an_element_nobody_looked_at_is_left_whole():
    root = parse("<a>\n  x 1\n  y 2\n  x 3\n</a>\n<b>\n  z 1\n</b>\n", "f.conf")
    root.children[0].take("x")
    assert [(e.name, key, p.line) for e, key, p in root.left()] == [("a", "y", 3), ("a", "x", 4), ("b", "", 6)]


def test_embedded_ruby_that_is_more_than_the_environment_stands_as_it_was():
    assert environment("#{Socket.gethostname}") == "#{Socket.gethostname}"


def test_a_key_without_a_value_is_true():
    assert (truth(""), truth("false"), truth(None), truth(None, True)) == (True, False, False, True)
