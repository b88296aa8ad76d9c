"""`process:` rules and the processing keys of sources: what is refused, what is merged."""
import pytest

from shipper.agent.formats import Rules
from shipper.config.loader import load_text
from shipper.config.processing import Condition, Processing, merged
from shipper.errors import Usage
from shipper.model import Source
from shipper.severity import chosen, normal

BASE = "node: node1\nsources:\n  c: {type: containers}\nsinks:\n  out: {type: stdout}\n"


def problems(text):
    with pytest.raises(Usage) as found:
        load_text(BASE + text, "c.yaml", {})
    return [line.removeprefix("c.yaml:") for line in str(found.value).splitlines()]


def source(**names):
    return Source("containers", names.pop("name", "c"), "/x", "/x", "n", **names)


def config(text):
    return load_text(text, "c.yaml", {}).config


CASES = [
    ("a rule that does nothing", "process:\n  - when: {namespace: a}\n",
     "7:5: process[0]: says nothing to be done; give it one of"),
    ("a severity in a rule's when", "process:\n  - {when: {severity: ERROR}, parse: json}\n",
     "process[0].when.severity: a rule is chosen once per file"),
    ("a broken expression", "process:\n  - parse: {regex: '(?P<a>'}\n",
     "7:13: process[0].parse.regex: not a regular expression:"),
    ("an expression without a group", "process:\n  - parse: {regex: 'a+'}\n", "process[0].parse.regex: no named group"),
    ("a type of a group that is not there", "process:\n  - parse: {regex: '(?P<a>x)', types: {b: integer}}\n",
     "process[0].parse.types.b: the expression has no group of this name; it has a"),
    ("an empty condition", "process:\n  - drop: [{field: a}]\n", "process[0].drop[0]: says nothing to look for"),
    ("a severity with a typing mistake", "process:\n  - drop: [{severity: '<INFOO'}]\n",
     "process[0].drop[0].severity: 'INFOO' is no severity; did you mean INFO?"),
    ("a test for a sink that is not there", "tests:\n  - {name: a, as: /x, input: b, expect: [], sinks: [nowhere]}\n",
     "tests[0].sinks: nowhere is no sink of this config; it has out"),
]


@pytest.mark.parametrize(("text", "want"), [(text, want) for _, text, want in CASES], ids=[name for name, _, _ in CASES])
def test_a_wrong_rule_is_refused_with(text, want):
    assert any(want in line for line in problems(text)), problems(text)


def test_a_sinks_severity_that_nobody_parses_is_warned_of():
    loaded = load_text(BASE + "  bad: {type: stdout, when: {severity: '>=ERROR'}}\n".replace("stdout", "file, path: /tmp/x"),
                       "c.yaml", {})
    assert any("sinks.bad.when.severity: nothing matches: no source and no rule says parse" in line for line in loaded.warnings)


@pytest.mark.parametrize(("parse", "field", "warned"), [
    ("json", "level", True), ("auto", "lvl", True), ("json", "a.level", False), ("gcp", "level", False),
    ("gcp", "severity", True),
    ("{regex: '^(?P<level>.)(?P<a>.)'}", "level", True), ("{regex: '^(?P<level>.)(?P<a>.)', severity: a}", "level", False),
    ("{regex: '^(?P<level>.)(?P<a>.)', severity: a}", "a", True)])
@pytest.mark.parametrize("key", ["keep", "drop"])
def test_a_condition_on_what_the_parser_takes_as_the_severity_is_warned_of(parse, field, warned, key):
    """`keep: [{field: level, match: error}]` beside `parse: json` dropped every record, and check said ok."""
    loaded = load_text(BASE + f"process:\n  - {{parse: {parse}, {key}: [{{field: {field}, match: error}}]}}\n", "c.yaml", {})
    found = [line for line in loaded.warnings if "takes as the severity" in line]
    assert bool(found) is warned and all(f"process[0].{key}[0].field: {field}" in line for line in found)


@pytest.mark.parametrize(("source", "warned"), [
    ("type: containers", False), ("type: containers, parse: auto", True), ("type: files, include: [/a.log]", False),
    ("type: files, include: [/a.log], format: json", True), ("type: files, include: [/a.log], format: json, parse: klog", False)])
def test_the_format_of_container_logs_is_not_taken_for_the_parser_of_that_name(source, warned):
    """`format: auto` is what every source of containers has: its conditions on `level` were warned of where a rule parses."""
    head = f"sources: {{c: {{{source}, keep: [{{field: level, match: error}}]}}}}\nsinks: {{s: {{type: file, path: /tmp/x}}}}\n"
    loaded = load_text(head + "process: [{parse: {regex: '^(?P<level>.)(?P<grade>.)', severity: grade}}]\n", "c.yaml", {})
    assert any("takes as the severity" in line for line in loaded.warnings) is warned


@pytest.mark.parametrize(("regex", "multiline", "warned"), [
    (r"^(?P<a>\S+) (?P<message>.*)$", "{start: '^a'}", True), (r"^(?P<a>\S+) (?P<message>.*)", "auto", True),
    (r"(?s)^(?P<a>\S+) (?P<message>.*)$", "auto", False), (r"^(?P<a>\S+) (?P<message>.*)$", "off", False),
    (r"^(?P<a>\S+) (?P<rest>.*)$", "auto", False), (r"^(?P<message>.*) (?P<a>\S+)$", "auto", False)])
def test_an_expression_that_leaves_all_but_the_first_line_of_a_record_behind_is_warned_of(regex, multiline, warned):
    """The stack traces that multiline had joined were their first lines, and check said ok."""
    loaded = load_text(BASE + f"process:\n  - {{parse: {{regex: '{regex}'}}, multiline: {multiline}}}\n", "c.yaml", {})
    assert any("process[0].parse.regex" in line and "(?s)" in line for line in loaded.warnings) is warned


def test_a_rules_keys_win_over_the_sources_and_a_later_rules_over_an_earlier_ones():
    rules = config("node: node1\nsources:\n  c: {type: containers, parse: klog, drop: [{match: a}]}\n"
                   "sinks:\n  out: {type: stdout}\n"
                   "process:\n  - {when: {namespace: shop}, parse: json, drop: [{match: b}]}\n"
                   "  - {when: {pod: 'web-*'}, parse: auto}\n")
    wanted = Rules(rules.process).wanted
    own = rules.sources["c"]
    assert wanted(own, source(namespace="x", pod="y")) == Processing(parse="klog", drop=[Condition(match="a")])
    assert wanted(own, source(namespace="shop", pod="db")) == Processing(
        parse="json", drop=[Condition(match="a"), Condition(match="b")])
    assert wanted(own, source(namespace="shop", pod="web-1")).parse == "auto"


def test_a_source_that_asks_for_nothing_has_no_processing():
    plain = config(BASE)
    assert Rules(plain.process).wanted(plain.sources["c"], source()) is None
    assert merged([]) is None


def test_a_host_files_format_is_its_parser_and_parse_wins_over_it():
    files = config("node: node1\nsources:\n  a: {type: files, include: [/v/a], format: klog}\n"
                   "  b: {type: files, include: [/v/b], format: syslog, parse: json}\nsinks:\n  out: {type: stdout}\n")
    assert Rules(()).wanted(files.sources["a"], source()) == Processing(parse="klog")
    assert Rules(()).wanted(files.sources["b"], source()) == Processing(parse="json")


class TestSeverities:
    @pytest.mark.parametrize(("text", "want"), [
        ("warn", b"WARNING"), (" Error ", b"ERROR"), ("W", b"WARNING"), ("I", b"INFO"), ("FATAL", b"CRITICAL"),
        ("C", b"CRITICAL"),
        ("F", b"CRITICAL"), ("CRIT", b"CRITICAL"), ("TRACE", b"DEBUG"), ("TRACE_INT", b"DEBUG"), ("FINEST", b"DEBUG"),
        ("CONFIG", b"DEBUG"), ("D", b"DEBUG"), ("SEVERE", b"ERROR"), ("ERR", b"ERROR"), ("E", b"ERROR"), ("EMERG", b"EMERGENCY"),
        ("INFORMATION", b"INFO"), ("N", b"NOTICE"), ("A", b"ALERT"), ("DEBUG", b"DEBUG"), ("NOTICE", b"NOTICE"),
        ("ALERT", b"ALERT"), ("100", b"DEBUG"), ("299", b"INFO"), ("900", b"EMERGENCY"), ("99", b""), ("DEFAULT", b""),
        ("", b""), ("loud", b""), ("9" * 400, b""),
    ])
    def test_a_name_is_normalised(self, text, want):
        assert normal(text) == want

    def test_a_comparison_means_no_record_without_a_severity_unless_default_is_named(self):
        assert chosen("<=INFO") == {b"DEBUG", b"INFO"}
        assert chosen(["DEFAULT", "<=DEBUG"]) == {b"", b"DEBUG"}
        assert chosen(">=DEFAULT") >= {b"", b"EMERGENCY"}
        assert chosen(">alert") == {b"EMERGENCY"}
