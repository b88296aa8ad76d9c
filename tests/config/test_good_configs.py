"""Configs that load: what comes out, by equality."""
import socket

import pytest

from shipper.config.types import Admin, BufferSettings, ContainersSource, FilesSource, Log, SinkCommon
from tests.config.fake_sink import FAKE, FakeConfig, Tls, load, problems

S = "sources:\n  c: {type: containers}\n"
K = "sinks:\n  out: {type: fake, address: a}\n"


def sink(keys, **environ):
    return load(S + f"sinks:\n  out: {{type: fake, address: a, {keys}}}\n", **environ).config.sinks["out"]


def warnings(text):
    return [line.removeprefix("c.yaml:") for line in load(text).warnings]


def test_the_smallest_config_has_all_defaults():
    config = load(S + K).config
    assert config.sources == {"c": ContainersSource()}
    assert (config.buffer, config.admin, config.log) == (BufferSettings(), Admin(), Log())
    assert (config.node, config.state_dir) == (socket.gethostname(), "/var/lib/shipper")
    assert (config.shutdown_grace, config.lock_wait) == (25.0, 40.0)
    entry = config.sinks["out"]
    assert (entry.name, entry.type, entry.spec) == ("out", "fake", FAKE)
    assert (entry.common, entry.config) == (SinkCommon(), FakeConfig(address="a"))


def test_every_key_reaches_its_field():
    config = load("""
node: n1
state_dir: /opt/state/
sources:
  pods: {type: containers, include: [/a/*.log], exclude: ["*kube*"], format: raw, start_at: end, max_line: 64KiB,
         max_record: 2MiB, partial_timeout: 500ms, allowed_roots: [/a]}
  host: {type: files, include: [/b/x.log, /b/y/*.log, /b/z.log], format: raw}
buffer: {max_size: 64MiB, segment_size: 1MiB, sync_interval: 1s}
sinks:
  out:
    type: fake
    address: h
    port: 1
    when: {namespace: [a, "b-*"], labels: {tier: web}, pod: p}
    when_full: drop_oldest
    max_backlog: 1MiB
    max_backlog_age: 2h
    concurrency: 1
    start_at: oldest
    previously: old
    give_up_after: 1d
    max_request_bytes: 64KiB
    max_request_records: 7
    linger: 1s
    tls: {ca: /x.pem, verify: false}
admin: {listen: null}
log: {level: debug, format: text}
shutdown_grace: 1m
lock_wait: 0s
""").config
    assert config.sources["pods"] == ContainersSource(
        include=["/a/*.log"], exclude=["*kube*"], format="raw", start_at="end", max_line=65536, max_record=2**21,
        partial_timeout=0.5, allowed_roots=["/a"])
    assert config.sources["host"] == FilesSource(
        include=["/b/x.log", "/b/y/*.log", "/b/z.log"], format="raw", allowed_roots=["/b", "/b/y"])
    assert config.buffer == BufferSettings(max_size=2**26, segment_size=2**20, sync_interval=1.0)
    assert config.sinks["out"].common == SinkCommon(
        when={"namespace": ["a", "b-*"], "labels": {"tier": ["web"]}, "pod": ["p"]}, when_full="drop_oldest", max_backlog=2**20,
        max_backlog_age=7200.0, concurrency=1, start_at="oldest", previously="old", give_up_after=86400.0,
        max_request_bytes=65536, max_request_records=7, linger=1.0)
    assert config.sinks["out"].config == FakeConfig(address="h", port=1, tls=Tls(ca="/x.pem", verify=False))
    assert (config.admin.listen, config.log, config.state_dir) == (None, Log(level="debug", format="text"), "/opt/state")
    assert (config.node, config.shutdown_grace, config.lock_wait) == ("n1", 60.0, 0.0)


def test_the_environment_is_put_in_after_parsing_so_it_can_not_become_yaml():
    evil = "x\nadmin: {listen: null}\n# {[*&!"
    entry = sink("token: '${T}'", T=evil)
    assert entry.config.token == evil


def test_a_variable_becomes_what_the_key_wants():
    entry = sink("port: '${P}', ratio: '${R}', protocol: '${O}', limit: '${L}', timeout: '${D}', tls: {verify: '${V}'}",
                 P="12", R="0.5", O="udp", L="1024", D="3s", V="false")
    assert (entry.config.port, entry.config.ratio, entry.config.protocol) == (12, 0.5, "udp")
    assert (entry.config.limit, entry.config.timeout, entry.config.tls.verify) == (1024, 3.0, False)


def test_text_from_the_environment_stays_text_even_where_it_looks_like_a_number():
    assert sink("token: '${T}'", T="0644").config.token == "0644"
    assert load(S + K + "node: ${N}\n", N="12").config.node == "12"


@pytest.mark.parametrize(("value", "want"), [
    ("${A:-d}", "d"), ("${A:-}", ""), ("${E:-d}", "d"), ("${S:-d}", "set"), ("a${S}b${S}", "asetbset"), ("$${S}", "${S}"),
    ("$S", "$S"), ("$$", "$$"), ("$$${S}", "$${S}"), ("${S:-a:-b}", "set"), ("${A:-a:-b}", "a:-b"), ("100%", "100%"),
])
def test_variables_defaults_and_the_escape(value, want):
    assert sink(f"token: '{value}'", S="set", E="").config.token == want


def test_an_empty_default_means_no_value_where_none_is_allowed():
    text = S + "sinks:\n  out:\n    type: fake\n    address: a\n    limit: ${L:-}\nadmin:\n  listen: ${A:-}\nnode: ${N:-}\n"
    config = load(text).config
    assert (config.sinks["out"].config.limit, config.admin.listen, config.node) == (None, None, socket.gethostname())


def test_an_anchor_gives_its_value_again():
    sources = load("sources:\n  a: {type: containers, exclude: &x ['*.gz', b]}\n"
                   "  b: {type: files, include: [/l/*.log], exclude: *x}\n" + K).config.sources
    assert sources["a"].exclude == sources["b"].exclude == ["*.gz", "b"]


def test_comments_a_bom_and_windows_line_ends_do_no_harm():
    assert load(("\ufeff# head\n" + S + K).replace("\n", "\r\n").encode()).config.sources == {"c": ContainersSource()}


def test_quoted_words_are_text():
    entry = sink("token: 'no', paths: ['12:30:00', \"0644\", 'null']")
    assert (entry.config.token, entry.config.paths) == ("no", ["12:30:00", "0644", "null"])


def test_a_choice_may_be_a_word_that_yaml_guesses_at():
    assert sink("protocol: off").config.protocol == "off"


def test_a_value_of_any_type_is_read_as_yaml_1_2():
    assert sink("anything: {a: [1, 1.5, true, null, x], b: {}}").config.anything == {"a": [1, 1.5, True, None, "x"], "b": {}}


def test_one_of_several_types_is_chosen_by_what_stands_there():
    assert sink("one_or_more: a").config.one_or_more == "a"
    assert sink("one_or_more: [a, b]").config.one_or_more == ["a", "b"]


def test_an_excluded_output_is_no_loop():
    text = "sources:\n  h: {type: files, include: [/out/*.log], exclude: ['own*.log']}\n" \
           "sinks:\n  out: {type: fake, address: a, paths: [/out/own.log]}\n"
    assert not problems(text)


def test_a_raw_sink_takes_raw_sources_and_what_when_sends_it():
    raw = "sinks:\n  out: {type: fake, address: a, format: raw, when: {source: [r]}}\n"
    assert not problems("sources:\n  r: {type: containers, format: raw}\n  c: {type: containers, include: [/x/*.log]}\n" + raw)
    assert not problems("sources:\n  r: {type: files, include: [/x/*.log]}\n" + raw)


class TestWarnings:
    def test_one_dead_sink_would_stop_the_others(self):
        text = S + "sinks:\n  a: {type: fake, address: a}\n  b: {type: fake, address: b, when_full: drop_oldest}\n"
        assert warnings(text) == [
            "4:3: sinks.a.when_full: block: while this sink is down the buffer fills (1GiB, at 1 MB/s in 18 minutes), and then "
            "reading stops for the other sinks too; raise buffer.max_size, or set when_full: drop_oldest or max_backlog here"]

    def test_sinks_that_would_each_stop_the_others_are_told_in_one_warning(self):
        text = S + "sinks:\n" + "".join(f"  {n}: {{type: fake, address: {n}}}\n" for n in "abc")
        assert warnings(text) == [
            "4:3: sinks.a.when_full: block: while this sink (or b or c) is down the buffer fills (1GiB, at 1 MB/s in "
            "18 minutes), and then reading stops for the other sinks too; raise buffer.max_size, or set when_full: drop_oldest "
            "or max_backlog here"]

    def test_a_single_sink_may_block(self):
        assert warnings(S + K) == []

    def test_a_bounded_backlog_stops_nobody(self):
        text = S + "sinks:\n" + "".join(
            f"  {n}: {{type: fake, address: {n}, {keys}}}\n" for n, keys in
            (("a", "max_backlog: 10MiB"), ("b", "max_backlog_age: 1h"), ("c", "give_up_after: 1h")))
        assert warnings(text) == []

    def test_a_backlog_over_the_buffer_has_no_effect(self):
        assert warnings(S + "sinks:\n  out: {type: fake, address: a, max_backlog: 2GiB}\n") == [
            "4:33: sinks.out.max_backlog: has no effect: the buffer (1GiB) is full before; lower it"]

    def test_a_file_that_two_sources_match_belongs_to_the_first(self):
        text = "sources:\n  a: {type: files, include: [/l/*.log]}\n  b: {type: files, include: [/l/x*]}\n" + K
        assert warnings(text) == [
            "3:20: sources.b.include: /l/x* and /l/*.log (source a) can match the same file; such a file belongs to a, which "
            "stands first; exclude it in one of them"]

    def test_a_concurrency_that_the_sink_does_not_use(self):
        assert warnings(S + "sinks:\n  out: {type: fake, address: a, concurrency: 8}\n") == [
            "4:33: sinks.out.concurrency: has no effect: fake works with 1; remove it"]

    def test_two_sinks_that_may_write_to_one_file(self):
        paths = (("a", "/o/{pod}/x.log"), ("b", "/o/web/{namespace}.log"), ("c", "/p/x.log"))
        text = S + "sinks:\n" + "".join(
            f"  {n}: {{type: fake, address: {n}, when_full: drop_oldest, paths: ['{path}']}}\n" for n, path in paths)
        assert warnings(text) == [
            "5:3: sinks.b: can write to the same file as sink a (/o/web/*.log and /o/*/x.log): their records would be mixed or "
            "cut; give them directories of their own"]

    def test_the_whole_file_system_as_a_root(self):
        assert warnings("sources:\n  a: {type: files, include: [/*.log]}\n" + K) == [
            "2:3: sources.a.allowed_roots: the whole file system is allowed, so a link in a log directory can make the agent "
            "read any file; name the directories that hold logs"]

    @pytest.mark.parametrize("keys", [
        "include: [/var/log/containers/web-*.log]", "include: [/var/log/pods/*/*/*.log]", "include: ['/var/log/**']",
        "include: [/srv/pods/*/*/*.log], allowed_roots: [/srv/pods]",
    ])
    def test_no_word_about_container_logs_that_are_within_what_is_allowed(self, keys):
        assert warnings("sources:\n  a: {type: containers, " + keys + "}\n" + K) == []

    def test_container_logs_of_a_directory_that_is_not_allowed(self):
        assert warnings("sources:\n  a: {type: containers, include: [/srv/pods/*/*/*.log]}\n" + K) == [
            "2:35: sources.a.include[0]: /srv/pods is in none of allowed_roots (/var/log/pods, /var/lib/docker/containers): "
            "files there are not read, but for links that lead into those; add allowed_roots: [/srv/pods]"]

    def test_a_status_page_for_everybody(self):
        assert warnings(S + K + "admin: {listen: '0.0.0.0:1', expose_status: true}\n") == [
            "5:30: admin.expose_status: whoever reaches this address can read file paths, pod names and sink errors; leave it "
            "out unless the network is trusted"]
