"""`parse`: what becomes of messages, times, severities and fields (shipper/process/parse*.py)."""
import json
from datetime import UTC, timedelta, timezone

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.processing import ParseRegex
from shipper.model import Batch, Source
from shipper.process import parse_json
from shipper.process import times as clock
from shipper.process.chain import Work
from shipper.process.parse import parse_step
from shipper.process.parse_json import CloudLoggingParser, JsonParser
from shipper.severity import normal

READ_NS = 1_795_165_445_000_000_000       # 2026-11-20T09:04:05Z
RUNTIME = b"2026-11-20T09:04:05.5Z"


def batch(*messages, kind="containers", time=RUNTIME):
    source = Source(kind, "c", "/x", "/x", "n")
    count = len(messages)
    return Batch(source, "k" * 16, [time] * count, [b"stdout"] * count, [b"%x+1" % i for i in range(count)], list(messages),
                 None, READ_NS, False, time.endswith(b"Z"))


def parsed(how, *messages, **more):
    work = Work(batch(*messages, **more), 0.0)
    parse_step(how, work.batch.source)(work)
    return work


def rows(how, *messages, **more):
    done = parsed(how, *messages, **more).batch
    return list(zip(done.messages, done.times, done.severities, done.fields))


def one(how, message, **more):
    return rows(how, message, **more)[0]


class TestJson:
    def test_the_usual_line(self):
        line = b'{"ts":1795165445.1,"level":"warn","msg":"slow","path":"/a"}'
        assert one("json", line) == (b"slow", b"2026-11-20T09:04:05.100000000Z", b"WARNING", b'{"path":"/a"}')

    def test_lines_that_are_all_alike_take_the_straight_path_to_the_same_result(self):
        lines = [b'{"time":"2026-11-20T09:04:05.%03dZ","level":"%b","msg":"a: %d","n":{"b":[1.5,null]}}' % (
            i, (b"info", b"error")[i % 2], i) for i in range(40)]
        work = parsed("json", *lines)
        assert JsonParser(UTC)._straight(lines) is not None
        assert work.batch.messages[3] == b"a: 3" and work.batch.severities[3] == b"ERROR" and work.batch.utc
        assert work.batch.times[3] == b"2026-11-20T09:04:05.003Z" and work.batch.fields[3] == b'{"n":{"b":[1.5,null]}}'
        assert [one("json", line) for line in lines] == list(
            zip(work.batch.messages, work.batch.times, work.batch.severities, work.batch.fields))

    @pytest.mark.parametrize("line", [
        b"plain text", b"", b"{", b'{"a":', b"[1]", b'"a"', b"{]", b'{"msg":"\\ud800","level":"info"}', b'{"a":NaN}',
        b'{"msg":"x","n":18446744073709551616}', b'{"msg":"x","n":-9223372036854775809}', b'{"msg":"x","a":1,"a":2}',
        b'{"msg":"x","o":{"a":1,"a":2}}', b'{"msg":"x","o":' + b"[" * 500 + b"]" * 500 + b"}", b'{"msg":"\xff"}',
        b'{"msg":"x","n":123456789012345678901234567890}', b'{"a":1} trailing',
    ])
    def test_what_does_not_parse_stays_as_it_was_and_is_counted(self, line):
        work = parsed("json", line)
        assert (work.batch.messages[0], work.batch.times[0], work.batch.severities[0], work.batch.fields[0]) == (
            line, RUNTIME, b"", b"")
        assert work.unparsed == 1

    def test_lines_whose_time_is_a_number_take_the_straight_path(self):
        lines = [b'{"level":"info","ts":1795165445.25,"msg":"a:b","n":%d}' % n for n in range(3)]
        found = JsonParser(UTC)._straight(lines)
        assert found is not None and found.times == [b"2026-11-20T09:04:05.250000000Z"] * 3
        assert JsonParser(UTC)._straight([lines[0], lines[1].replace(b"1795165445.25", b"true")]) is None

    @pytest.mark.parametrize("how", ["json", "auto"])
    def test_objects_among_other_lines_become_what_they_become_alone(self, how):
        good = [b'{"time":"2026-11-20T09:04:05Z","level":"info","msg":"%d","a":1}' % i for i in range(5)]
        mixed = [good[0], b"text", good[1], b"E1120 09:04:05.1 7 x.go:1] b", good[2], good[3], b"", good[4]]
        work = parsed(how, *mixed)
        done = work.batch
        assert list(zip(done.messages, done.times, done.severities, done.fields)) == [one(how, line) for line in mixed]
        assert work.unparsed == (3 if how == "json" else 2)

    def test_one_bad_line_does_not_change_its_neighbours(self):
        good = b'{"time":"2026-11-20T09:04:05Z","level":"info","msg":"x","a":1,"b":2}'
        bad = b'{"time":"2026-11-20T09:04:05Z","level":"info","msg":"x","a":1,"a":2}'
        assert [row[0] for row in rows("json", good, bad, good)] == [b"x", bad, b"x"]
        assert one("json", good) == (b"x", b"2026-11-20T09:04:05Z", b"INFO", b'{"a":1,"b":2}')

    def test_integers_of_64_bits_keep_every_digit(self):
        line = b'{"msg":"x","n":18446744073709551615,"m":-9223372036854775808}'
        assert one("json", line)[3] == b'{"n":18446744073709551615,"m":-9223372036854775808}'

    def test_an_object_without_known_keys_stands_in_fields_with_its_own_bytes(self):
        assert one("json", b'{ "a" : 1.10 }') == (b"", RUNTIME, b"", b'{ "a" : 1.10 }')

    def test_fields_hold_no_newline(self):
        assert one("json", b'{"a":1,\n"b":2}')[3] == b'{"a":1,"b":2}'

    def test_a_level_or_time_that_says_nothing_stays_a_field(self):
        line = b'{"level":"loud","time":0.35,"msg":"x"}'
        assert one("json", line) == (b"x", RUNTIME, b"", b'{"level":"loud","time":0.35}')

    def test_a_duration_called_time_does_not_hide_the_time_that_is_one(self):
        assert one("json", b'{"time":35,"ts":"2026-11-20 09:04:05,123","msg":"x"}') == (
            b"x", b"2026-11-20T09:04:05.123Z", b"", b'{"time":35}')

    @pytest.mark.parametrize(("level", "want"), [
        ('"WARN"', b"WARNING"), ("30", b"INFO"), ("50", b"ERROR"), ("400", b"WARNING"),
        ('"200"', b"INFO"), ("true", b""), ("null", b""),
        ('"E"', b"ERROR"), ("3", b""),
    ])
    def test_severities(self, level, want):
        assert one("json", b'{"msg":"x","level":%b}' % level.encode())[2] == want

    @pytest.mark.parametrize("key", ["level", "severity", "lvl", "log.level", "loglevel", "levelname"])
    def test_severity_keys(self, key):
        assert one("json", b'{"%b":"error"}' % key.encode()) == (b"", RUNTIME, b"ERROR", b"")

    @pytest.mark.parametrize("key", ["time", "ts", "timestamp", "@timestamp"])
    @pytest.mark.parametrize("value", [
        '"2026-11-20T09:04:05Z"', "1795165445", "1795165445000", "1795165445000000", "1795165445000000000", '"1795165445"',
        '"2026-11-20T10:04:05+01:00"', '"2026-11-20T10:04:05+0100"', '"2026-11-20 09:04:05"', '"2026/11/20 09:04:05"',
        '"20/Nov/2026:10:04:05 +0100"', '"Nov 20 09:04:05"', '"2026-11-20 09:04:05 UTC"',
        '"Fri Nov 20 09:04:05 2026"', '"Nov 20 09:04:05 2026"',
    ])
    def test_time_keys_and_forms(self, key, value):
        assert one("json", b'{"%b":%b}' % (key.encode(), value.encode()))[1] == b"2026-11-20T09:04:05Z"

    @pytest.mark.parametrize("value", [
        '"2026-02-30T09:04:05Z"', '"2026-11-20T25:04:05Z"', '"soon"', "-5", "1e300", '"' + "1" * 5000 + '"'])
    def test_what_is_no_time_is_not_taken(self, value):
        row = one("json", b'{"time":%b}' % value.encode())
        assert row[1] == RUNTIME and json.loads(row[3])["time"] == json.loads(value)


class TestLines:
    def test_klog(self):
        assert one("klog", b"W1120 09:04:05.123456       1 reflector.go:324] watch ended: [a]") == (
            b"watch ended: [a]", b"2026-11-20T09:04:05.123456Z", b"WARNING", b'{"pid":1,"source":"reflector.go:324"}')
        assert one("klog", b"Hello")[0] == b"Hello"

    def test_the_time_of_apaches_error_log(self):
        """Its records had the time at which they were read."""
        line = b"[Fri Nov 20 09:04:05.052283 2026] [core:notice] [pid 5997] AH00094: Command line"
        expression = r"^\[[^ ]* (?P<time>[^\]]*)\] \[(?P<module>[^\]]*)\] \[pid (?P<pid>[^\]]*)\] (?P<message>.*)$"
        assert one(ParseRegex(regex=expression), line)[:2] == (b"AH00094: Command line", b"2026-11-20T09:04:05.052283Z")
        assert clock.of_text(b"Nov 31 09:04:05 2026", UTC, 0) is None and clock.of_text(b"Foo 20 09:04:05 2026", UTC, 0) is None

    def test_klog_of_the_last_day_of_the_year_read_on_the_first(self):
        near_s = 1_798_761_700                             # 2027-01-01
        assert clock.without_year(12, 31, b"23:59:59", None, UTC, near_s) == b"2026-12-31T23:59:59Z"
        assert clock.without_year(1, 1, b"00:00:01", None, UTC, near_s - 86400) == b"2027-01-01T00:00:01Z"
        assert clock.without_year(2, 30, b"00:00:01", None, UTC, near_s) is None

    def test_syslog_as_rsyslog_writes_it_to_files(self):
        assert one("syslog", b"2026-11-20T10:04:05.123456+01:00 node1 sshd[812]: Accepted", kind="files") == (
            b"Accepted", b"2026-11-20T09:04:05.123456Z", b"", b'{"host":"node1","ident":"sshd","pid":"812"}')

    def test_syslog_rfc_3164(self):
        assert one("syslog", b"<11>Nov  2 09:04:05 node1 kernel: oops: x") == (
            b"oops: x", b"2026-11-02T09:04:05Z", b"ERROR", b'{"host":"node1","ident":"kernel"}')

    def test_syslog_rfc_5424(self):
        line = b'<14>1 2026-11-20T09:04:05.5Z host app 12 ID7 [x@1 a="]\\"b"] text'
        assert one("syslog", line)[:3] == (b"text", b"2026-11-20T09:04:05.5Z", b"INFO")
        assert orjson.loads(one("syslog", line)[3]) == {
            "host": "host", "ident": "app", "pid": "12", "msgid": "ID7", "structured_data": '[x@1 a="]\\"b"]'}

    def test_docker_daemon(self):
        line = b'time="2026-11-20T09:04:05.123456789Z" level=warning msg="a \\"b\\" failed" container=abc'
        assert one("logfmt", line) == (
            b'a "b" failed', b"2026-11-20T09:04:05.123456789Z", b"WARNING", b'{"container":"abc"}')

    @pytest.mark.parametrize("line", [b"just text", b"a=1 then text", b"", b'a="x', b"a=1 a=2"])
    def test_logfmt_takes_nothing_but_pairs(self, line):
        assert one("logfmt", line) == (line, RUNTIME, b"", b"")

    def test_a_users_expression_with_types(self):
        how = ParseRegex(
            regex=r'^(?P<client>\S+) \S+ \S+ \[(?P<time>[^\]]+)\] '
                  r'"(?P<method>[A-Z]+) (?P<path>[^ "]+) [^"]*" (?P<status>\d+) (?P<size>\S+)',
            types={"status": "integer", "size": "integer"})
        line = b'10.0.0.1 - - [20/Nov/2026:09:04:05 +0000] "GET /a HTTP/1.1" 404 -'
        assert one(how, line) == (b"", b"2026-11-20T09:04:05Z", b"",
                                  b'{"client":"10.0.0.1","method":"GET","path":"/a","status":404,"size":"-"}')

    def test_a_users_expression_that_names_its_keys(self):
        how = ParseRegex(regex=r"^(?P<a>\w+) (?P<b>\S+) (?P<c>.*)", severity="a", time="b", message="c")
        assert one(how, b"err 1795165445 it broke") == (b"it broke", b"2026-11-20T09:04:05Z", b"ERROR", b"")

    def test_auto_takes_json_and_klog_and_leaves_the_rest(self):
        found = rows("auto", b'{"msg":"a","level":"info"}', b"E1120 09:04:05.1 7 x.go:1] b", b"c")
        assert [(m, s) for m, _, s, _ in found] == [(b"a", b"INFO"), (b"b", b"ERROR"), (b"c", b"")]

    def test_a_host_files_time_without_a_zone_is_local(self, monkeypatch):
        zone = timezone(timedelta(hours=9))
        assert clock.of_text(b"2026-11-20 18:04:05", zone, 0) == b"2026-11-20T09:04:05Z"


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
                    max_leaves=6)
KEYS = st.sampled_from(["msg", "message", "level", "severity", "time", "ts", "a", "b:", "fields"])
VALUES = JSON | st.sampled_from(["info", "ERROR", "2026-11-20T09:04:05Z", "2026-11-20T09:14:05.5Z", 1795165445, 30])
LINES = st.lists(
    st.binary(max_size=60) | st.dictionaries(KEYS, VALUES, max_size=6).map(lambda d: json.dumps(d).encode("utf-8", "replace"))
    | st.sampled_from([b"I1120 09:04:05.1 7 x.go:1] b", b"a=1 level=info msg=x", b"Nov 20 09:04:05 h p[1]: m"]),
    min_size=1, max_size=12)


@settings(max_examples=80, deadline=None)
@given(LINES, st.sampled_from(["json", "klog", "syslog", "logfmt", "auto", "gcp", "gcp-json"]), st.data())
def test_any_input_any_cut_gives_equal_columns_and_the_same_records(lines, how, data):
    whole = rows(how, *lines)
    cut = data.draw(st.integers(0, len(lines)))
    parts = [rows(how, *part) for part in (lines[:cut], lines[cut:]) if part]
    assert [row for part in parts for row in part] == whole
    done = parsed(how, *lines).batch
    assert {len(column) for column in (done.times, done.streams, done.ids, done.messages, done.severities, done.fields)} == {
        len(lines)}
    for _, time, severity, fields in whole:
        assert clock.of_text(time, UTC, 0) is not None
        assert severity in (b"", normal(severity.decode()))
        assert b"\n" not in fields and (not fields or isinstance(orjson.loads(fields), dict))


@settings(max_examples=70, deadline=None)
@given(st.lists(st.fixed_dictionaries({
    "time": st.sampled_from(["2026-11-20T09:04:05Z", "2026-11-20T09:59:59.123456789Z"]),
    "level": st.sampled_from(["info", "err"]),
    "msg": st.text(max_size=10), "x": JSON}), min_size=1, max_size=5) | st.lists(st.fixed_dictionaries({
        "ts": st.sampled_from([1763629445.582, 1763629445, 1763629445582, 1763629445582123456, 12.5, True, 1.5e300]),
        "level": st.sampled_from(["info", "err"]), "msg": st.text(max_size=10), "x": JSON}), min_size=1, max_size=4))
def test_the_straight_path_gives_what_the_careful_one_gives(objects):
    lines = [json.dumps(one).encode("utf-8", "replace") for one in objects]
    parser = JsonParser(UTC)
    straight = parser._straight(lines)
    if straight is not None:
        careful = parser._careful(batch(*lines))
        assert straight[:4] == careful[:4]


@settings(max_examples=70, deadline=None)
@given(st.lists(st.fixed_dictionaries({
    "time": st.sampled_from(["2026-11-20T09:04:05Z", "2026-11-20T09:59:59.123456789Z", "2026-11-20 09:04:05Z", 1795165445]),
    "severity": st.sampled_from(["info", "ERR", 200, 30, True]), "message": st.text(max_size=10), "msg": JSON, "level": JSON,
}), min_size=1, max_size=5))
def test_the_straight_path_of_gcp_gives_what_the_careful_one_gives(objects):
    lines = [json.dumps(one).encode("utf-8", "replace") for one in objects]
    parser = CloudLoggingParser(UTC)
    straight = parser._straight(lines)
    if straight is not None:
        assert straight[:4] == parser._careful(batch(*lines))[:4]


def test_gcp_takes_the_names_that_googles_agents_take_and_leaves_all_others():
    [usual, glog] = [rows("gcp", line)[0] for line in (
        b'{"severity":"warn","time":"2026-11-20T10:00:00Z","message":"m","level":"info","ts":1,"timestamp":"x","msg":"y"}',
        b"E1120 09:04:05.123456       7 main.go:42] slow")]
    assert usual == (b"m", b"2026-11-20T10:00:00Z", b"WARNING", b'{"level":"info","ts":1,"timestamp":"x","msg":"y"}')
    assert glog[0] == b"slow" and glog[2] == b"ERROR"
    assert CloudLoggingParser(UTC)._straight([b'{"severity":"info","time":"2026-11-20T10:00:00Z","message":"m","msg":1}'] * 3)
    line = b'{"severity":30,"time":"10:00","message":{"a":1}}'
    assert rows("gcp", line)[0][2:] == (b"", line)
    assert rows("gcp-json", b"E1120 09:04:05.123456       7 main.go:42] slow")[0][0].startswith(b"E1120")


SECONDS = st.floats(allow_nan=True) | st.integers(0, 4 * 10**15).map(lambda micros: micros / 1_000_000) | st.tuples(
    st.integers(10**8, 10**11), st.integers(0, 10**8)).map(lambda parts: float(f"{parts[0]}.{parts[1]}")) | st.sampled_from(
    [1e8, 99_999_999.9, 1e9, 4e9, 4_294_967_296.000001, 59_156_228_156.63026, -594_811_920.797089, 1_763_629_445.0, 1e16, 0.0])


@settings(max_examples=300, deadline=None)
@given(st.lists(SECONDS, min_size=1, max_size=4) | st.lists(SECONDS | st.integers(), min_size=1, max_size=3))
def test_times_that_are_numbers_are_the_same_together_as_alone(numbers):
    assert clock.of_numbers(numbers) == [clock.of_number(number) for number in numbers]


@pytest.mark.parametrize("number", [
    1_700_000_000_250.0, 1_700_000_000_250, 1_700_000_000.25, 1_700_000_000_250_000.0, 1_700_000_000_250_000,
    1_700_000_000_250_000_000.0, 1_700_000_000_250_000_000,
])
def test_a_time_as_a_number_is_the_same_in_seconds_and_their_thousandths_whole_or_not(number: float) -> None:
    assert clock.of_number(number) == b"2023-11-14T22:13:20.250000000Z"


def test_what_is_said_of_a_batch_is_true_of_each_of_its_records():
    one_line, two_lines = (b'{"level":"info","ts":1795165445.25,"msg":"%b"}' % text for text in (b"a", b"a\\nb"))
    for lines, has_newline in (((one_line, b"text"), False), ((one_line, two_lines, b"text"), True), ((two_lines,), True)):
        assert parsed("json", *lines).batch.newlines is has_newline
        assert parsed("json", *lines).batch.utc
    elsewhere = parsed("json", one_line, b"text", time=b"2026-11-20T10:04:05+01:00").batch
    assert not elsewhere.utc, "the line that is no JSON kept its time"


def test_a_key_written_with_an_escape_is_the_key_that_it_means_whatever_stands_before_it():
    usual = b'{"level":"info","ts":1795165445.25,"msg":"m"}'
    line = b'{"level":"info","ts":1795165445.25,"m\\u0065ssage":"a","msg":"b"}'
    assert rows("json", usual, line)[1] == one("json", line) == (
        b"a", b"2026-11-20T09:04:05.250000000Z", b"INFO", b'{"msg":"b"}')


def test_a_level_that_is_a_float_is_none_whatever_levels_came_before_it():
    before, line = (b'{"level":%b,"ts":1795165445.25,"msg":"m"}' % level for level in (b"30", b"30.0"))
    for lines in ((before,), (line,), (before, line)):
        assert rows("json", *lines)[-1][2:] == ((b"INFO", b"") if lines[-1] is before else (b"", b'{"level":30.0}'))


@pytest.mark.parametrize("how", ["json", "gcp", "auto"])
@pytest.mark.parametrize("head", [b'{"x":', b'{"message":"m","severity":"info","time":"2026-11-20T10:00:00Z","x":'])
def test_a_line_nested_too_deeply_to_be_written_again_is_text_and_no_dead_letter_of_a_sink(how, head):
    """Also where it is not written again here: sinks do (Cloud Logging the special fields, files with `merge`)."""
    fits, deep = ((head + b"[" * depth + b"]" * depth + b"}") for depth in (250, 300))
    assert orjson.dumps({"jsonPayload": orjson.loads(rows(how, fits)[0][3])})
    assert rows(how, deep)[0][0] == deep and rows(how, deep)[0][3] == b""


def test_g3_a_line_with_hundreds_of_brackets_keeps_its_bytes_where_nothing_is_taken_out():
    """It was written anew: 1.10 became 1.1, and 1e2 100.0."""
    line = b'{"a":1.10, "n":[' + b",".join([b'{"x": 1e2}'] * 250) + b"]}"
    assert rows("json", line)[0][3] == line


def test_a_key_that_stands_twice_is_seen_also_where_a_blank_stands_before_its_colon():
    line = b'{"msg":"m","level":"info","a":1,"a" :2}'
    found = JsonParser(UTC)(batch(line))
    assert (found.unparsed, list(found.messages)) == (1, [line])


def test_levels_of_a_hostile_pod_are_not_kept_in_memory():
    """Each may be a MiB long; what is remembered of them is bounded."""
    lines = [b'{"level":"%b%d","msg":"m"}' % (b"x" * 100_000, n) for n in range(5)]
    JsonParser(UTC)(batch(*lines))
    assert sum(len(key) for key in parse_json._severities if isinstance(key, str)) < 512 * 33
