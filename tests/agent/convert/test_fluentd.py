"""F1, F2: what a fluentd config becomes; and that it ships the same records."""
from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipper.agent.cli import main
from shipper.agent.convert.draft import Draft
from shipper.agent.convert.fluentd import convert, matches
from shipper.agent.convert.fluentd_values import known_time, python_regex
from shipper.config.loader import load_text
from tests.tail.conftest import Tree, cri

GCP = Path(__file__).with_name("fluentd-gcp.yaml")
TAIL = "<source>\n  @type tail\n  path /var/log/app.log\n  tag app\n  read_from_head true\n"


def converted(text: str) -> tuple[dict[str, Any], list[str], Draft]:
    """(the YAML, problems without their place, the draft)"""
    draft = convert({"f.conf": text}, "f.conf")
    return yaml.safe_load(draft.yaml()), [why for _, _, why in draft.problems], draft


def sink_of(text: str) -> tuple[dict[str, Any], list[str]]:
    config, problems, _ = converted(f"{TAIL}  format none\n</source>\n<match **>\n{text}\n</match>\n")
    (sink,) = config["sinks"].values()
    return sink, problems


def source_of(text: str, filters: str = "") -> tuple[dict[str, Any], list[str]]:
    config, problems, _ = converted(f"{TAIL}{text}\n</source>\n{filters}<match **>\n  @type stdout\n</match>\n")
    (source,) = config["sources"].values()
    return source, problems


@pytest.mark.parametrize(("pattern", "tag", "wanted"), [
    ("**", "a.b", True), ("a.*", "a.b", True), ("a.*", "a.b.c", False), ("a.**", "a", True), ("a.**", "a.b.c", True), ("a.**",
                                                                                                                       "ab",
                                                                                                                       False),
    ("**.c", "a.b.c", True), ("**.c", "c", True), ("{a,b}.c", "b.c", True), ("{a,b}", "c", False), ("x a", "a", True),
    ("{raw.stderr,raw.stdout}", "raw.stdout", True), ("/^a/", "abc", True), ("/^(?<x>a)\\.\\h/", "a.b", True),
    ("/(/", "a", False),
])
def test_tag_patterns(pattern: str, tag: str, wanted: bool):
    assert matches(pattern, tag) is wanted


def test_an_expression_of_ruby_in_the_words_of_python():
    assert python_regex(r"/^(?<a>\h+)\/(?<b>.)\z/") == r"^(?P<a>[0-9a-fA-F]+)/(?P<b>.)$"
    assert python_regex(r"/error|warn/i") == "(?i)error|warn", "the letters behind it were lost: half of the lines were found"
    assert python_regex(r"/a.b/im") == "(?is)a.b" and python_regex("/var/log") == "/var/log"
    assert python_regex(r"/^[[:alpha:]_][[:alnum:]]+[^[:space:]]/") == r"^[A-Za-z_][A-Za-z0-9]+[^\s]"


class TestFluentdGcp:
    """Every directive that its ConfigMap has."""

    def test_all_of_it_is_carried_over(self, capsys):
        assert main(["convert", "fluentd", str(GCP)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert {s.type for s in load_text(out, "c.yaml", {"CLUSTER_NAME": "c"}).config.sinks.values()} == {"cloud_logging"}
        config = yaml.safe_load(out)
        assert config["sources"]["containers"] == {
            "type": "containers", "include": ["/var/log/containers/*.log"], "start_at": "beginning", "format": "auto",
            "parse": "gcp",
            "multiline": "auto", "max_record": "120KiB"}
        assert config["sources"]["kubelet"] == {
            "type": "files", "include": ["/var/log/kubelet.log"], "start_at": "end", "multiline": {"start": r"^\w\d{4}"},
            "format": "klog", "parse": "gcp"}
        assert [config["sources"][name]["format"] for name in ("startupscript", "docker", "etcd")] == ["syslog", "docker-daemon",
                                                                                                       "plain"]
        assert config["sources"]["containerd"] == {
            "type": "journal", "units": ["containerd.service"], "directory": "/var/log/journal", "start_at": "beginning",
            "parse": "gcp-json"}
        assert config["sources"]["node-journal"]["drop"] == [
            {"field": "_SYSTEMD_UNIT", "match": r"^(docker|containerd|kubelet|node-problem-detector)\.service$"}]
        pods, nodes, docker, kubelet = config["sinks"].values()
        assert pods == {"type": "cloud_logging", "cluster_name": "${CLUSTER_NAME}", "start_at": "oldest", "when_full": "block",
                        "concurrency": 2, "when": {"source": ["containers"]}}
        assert nodes["type"] == "cloud_logging" and set(nodes["when"]["source"]) == config["sources"].keys() - {
            "containers", "docker-2", "kubelet-2"}
        assert [(sink["log_name"], sink["when"]) for sink in (docker, kubelet)] == [
            ("docker", {"source": ["docker-2"]}), ("kubelet", {"source": ["kubelet-2"]})]
        assert "positions import --from fluentd /var/log/gcp-containers.log.pos" in out
        assert "--from fluentd-journal /var/log/gcp-journald-containerd.pos --source containerd" in out

    def test_every_parameter_is_in_the_yaml_or_among_its_notes(self):
        """F1 by count: each line of the config with a key is taken by something."""
        from shipper.agent.convert_command import files_of

        files = files_of(GCP.read_text(), "cm")
        draft = convert(files, "cm")
        text = draft.yaml()
        assert "mystery" not in text
        files["output.conf"] = files["output.conf"].replace("use_grpc true", "use_grpc true\n  mystery 7", 1)
        assert [why for _, _, why in convert(files,
                                             "cm").problems if "mystery 7 in <match {stderr,stdout}> @type google_cloud" in why]

    def test_it_ships_the_records_that_fluentd_shipped(self, tmp_path: Path, capsys):
        config = self.here(tmp_path, capsys)
        tree, logs = Tree(tmp_path / "log"), tmp_path / "log"
        config["sources"]["containers"]["allowed_roots"] = [os.path.realpath(logs)]
        today = time.gmtime()
        day, date = time.strftime("%m%d", today), time.strftime("%Y-%m-%d", today)
        tree.write(
            cri("plain words"),
            cri("to stderr", second=1, stream="stderr"),
            cri(f"W{day} 09:04:05.123456       7 main.go:42] slow disk", second=2, stream="stderr"),
            cri('{"severity":"error","message":"boom","user":7}', second=3),
            cri("Traceback (most recent call last):", second=4, stream="stderr"),
            cri('  File "a.py", line 1, in <module>', second=4, stream="stderr"),
            cri("ValueError: no", second=4, stream="stderr"),
            cri("first half, ", second=5, tag="P"), cri("second half", second=5),
            cri("a message with stdout F in it", second=6),
        )
        (logs / "startupscript.log").write_text("Nov 20 23:17:22 node-1 startupscript: Finished\n")
        (logs / "docker.log").write_text('time="2026-02-04T06:51:03.053580605Z" level=warning msg="GET /json" statusCode=404\n')
        (logs / "etcd.log").write_text("2016/02/04 06:52:38 filePurge: done\n")
        (logs / "kubelet.log").write_text(
            f"I{day} 07:32:30.020537    3368 server.go:1048] a large\nobject: body\nE{day} 07:32:31.000000    3368 server.go:9] "
            f"next\n")
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump(config))
        assert main(["check", "-c", str(path)]) == 0
        assert main(["run", "-c", str(path), "--once", "--timeout", "20s"]) == 0

        assert self.shipped(tmp_path, "containers") == [
            ("stdout", None, "plain words", None), ("stderr", None, "to stderr", None),
            ("stderr", "WARNING", "slow disk", {"pid": 7, "source": "main.go:42"}),
            ("stdout", "ERROR", "boom", {"user": 7}),
            ("stderr", None, 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nValueError: no', None),
            ("stdout", None, "first half, second half", None), ("stdout", None, "a message with stdout F in it", None),
        ]
        (glog,) = [r for r in self.records(tmp_path, "containers") if r["message"] == "slow disk"]
        assert glog["time"] == f"{date}T09:04:05.123456Z"
        assert (glog["kubernetes"]["namespace_name"], glog["kubernetes"]["container_name"]) == ("default", "web")
        assert self.shipped(tmp_path, "startupscript") == [("", None, "Finished", {"host": "node-1", "ident": "startupscript"})]
        assert self.shipped(tmp_path, "docker") == [("", "WARNING", "GET /json", {"statusCode": "404"})]
        assert self.shipped(tmp_path, "etcd") == [("", None, "2016/02/04 06:52:38 filePurge: done", None)]
        assert self.shipped(tmp_path, "kubelet") == [
            ("", "INFO", "a large\nobject: body", {"pid": 3368, "source": "server.go:1048"}),
            ("", "ERROR", "next", {"pid": 3368, "source": "server.go:9"})]

    def here(self, root: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
        """The conversion with its paths below `root`, read from the beginning, files in place of Google and of the journal."""
        assert main(["convert", "fluentd", str(GCP)]) == 0
        config: dict[str, Any] = yaml.safe_load(capsys.readouterr().out.replace("/var/log", f"{root}/log"))
        config["sources"] = {n: s | {"start_at": "beginning"} for n, s in config["sources"].items() if s["type"] != "journal"}
        config["sinks"] = {n: {"type": "file", "path": f"{root}/out/{n}.ndjson", "start_at": "oldest", "when": {"source": [n]}}
                           for n in config["sources"]}
        return config | {"state_dir": f"{root}/state", "node": "node-1", "admin": {"listen": None}}

    def records(self, root: Path, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (root / "out" / f"{name}.ndjson").read_text().splitlines()]

    def shipped(self, root: Path, name: str) -> list[tuple[Any, ...]]:
        return [(r.get("stream", ""), r.get("severity"), r["message"], r.get("fields"))
                for r in sorted(self.records(root, name), key=lambda r: r["id"].split(":")[-1].split("+")[0].zfill(8))]


PODS = """<source>
  @type tail
  path /var/log/containers/*.log
  tag {tag}
  read_from_head true
  format json
</source>
{between}<match **>
  @type google_cloud
</match>
"""


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {key.replace("_", "."): value for key, value in data.items()}}


def test_two_config_maps_of_one_list_with_equal_files_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """GKE had one for each resource model: the first one's output was lost without a word."""
    out = "<match **>\n  @type stdout\n</match>\n"
    path = tmp_path / "cms.yaml"
    maps = [config_map("new", output_conf=out), config_map("old", output_conf=out), config_map("ca", ca_crt="-----BEGIN")]
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": maps}))
    assert main(["convert", "fluentd", str(path)]) == 2
    assert "ConfigMaps new and old both have output.conf" in capsys.readouterr().err
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [maps[0], maps[2]]}))
    assert main(["convert", "fluentd", str(path)]) == 0


def test_a_config_map_may_be_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "cm.json"
    text = f"{TAIL}  format none\n</source>\n<match **>\n  @type stdout\n</match>\n"
    path.write_text(json.dumps(config_map("c", output_conf=text), indent=4))
    assert main(["convert", "fluentd", str(path)]) == 0
    assert "/var/log/app.log" in capsys.readouterr().out


def test_a_file_of_a_config_map_that_only_includes_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "cm.yaml"
    path.write_text(yaml.safe_dump(config_map(
        "c", fluent_conf="@include /elsewhere/x.conf\n", output_conf="<match **>\n  @type stdout\n</match>\n")))
    assert main(["convert", "fluentd", str(path)]) == 0
    assert "/elsewhere/x.conf: not read" in capsys.readouterr().err


class TestLogNamesInCloudLogging:
    """Filters, metrics and alerts ask for them: none changes without a word."""

    def sinks(self, text: str) -> tuple[dict[str, Any], list[str]]:
        config, problems, _ = converted(text)
        return config["sinks"], problems

    def test_fields_keep_their_names_where_google_alone_gets_them(self):
        text = PODS.format(tag="stdout", between="").replace("google_cloud\n", "google_cloud\n  detect_json true\n")
        config, _, _ = converted(text)
        assert config["sources"]["containers"]["parse"] == "gcp-json"
        both = text.replace("<match **>", "<match **>\n  @type copy\n  <store>\n    @type stdout\n  </store>\n  <store>").replace(
            "</match>", "  </store>\n</match>")
        config, _, _ = converted(both)
        assert config["sources"]["containers"]["parse"] == "json"

    def test_a_tag_of_ones_own_stays_the_logs_name(self):
        sinks, problems = self.sinks(PODS.format(tag="containers", between=""))
        assert problems == [] and [sink["log_name"] for sink in sinks.values()] == ["containers"]

    @pytest.mark.parametrize(("tag", "between"), [
        ("kubernetes.*", ""),
        ("reform.*",
         "<match reform.**>\n  @type record_reformer\n  tag k.${tag_suffix[4].split('-')[0..-2].join('-')}\n</match>\n")])
    def test_under_the_old_resource_it_is_the_containers_name_and_the_resource_is_said(self, tag: str, between: str):
        sinks, problems = self.sinks(PODS.format(tag=tag, between=between))
        assert [sink["log_name"] for sink in sinks.values()] == ["{container}"]
        assert len(problems) == 1 and "gke_container" in problems[0] and "k8s_container" in problems[0]

    def test_several_tags_of_one_source_are_said(self):
        between = ("<match reform.**>\n  @type record_reformer\n  tag ${record['stream'] == 'stderr' ? 'bad' : 'good'}\n"
                   "</match>\n")
        sinks, problems = self.sinks(PODS.format(tag="reform.*", between=between))
        assert "log_name" not in next(iter(sinks.values()))
        assert len(problems) == 1 and "were named bad, good" in problems[0]

    def test_files_whose_tag_is_their_path_are_said(self):
        _, problems = self.sinks(
            "<source>\n  @type tail\n  path /var/log/app/*.log\n  tag app.*\n  format none\n</source>\n"
            "<match **>\n  @type google_cloud\n</match>\n")
        assert len(problems) == 1 and "were named by the path of each file" in problems[0]

    def test_two_sources_with_names_of_their_own_are_two_sinks(self):
        first = PODS.format(tag="one", between="").partition("<match")[0]
        sinks, problems = self.sinks(first + first.replace("/*.log", "/x*.log").replace("tag one", "tag two") + (
            "<match **>\n  @type google_cloud\n</match>\n"))
        assert problems == [] and [(sink["log_name"], sink["when"]["source"]) for sink in sinks.values()] == [
            ("one", ["containers"]), ("two", ["containers-2"])]

    def test_a_file_and_a_journal_of_one_tag_keep_it_both(self):
        text = ("<source>\n  @type tail\n  path /var/log/kubelet.log\n  tag kubelet\n  format none\n</source>\n"
                "<source>\n  @type systemd\n  tag kubelet\n  filters [{\"_SYSTEMD_UNIT\": \"kubelet.service\"}]\n</source>\n"
                "<match **>\n  @type google_cloud\n  project_id p1\n</match>\n")
        sinks, problems = self.sinks(text)
        first, second = sinks.values()
        assert problems == [] and "log_name" not in first and first["when"] == {"source": ["kubelet"]}
        assert second["log_name"] == "kubelet" and second["when"] == {"source": ["kubelet-2"]} and second["project"] == "p1"


def test_a_number_of_fluentds_own_start_is_nothing_to_look_at():
    _, problems, draft = converted(
        "<source>\n  @type exec\n  command date +%s\n  tag process_start\n  keys t\n</source>\n"
        "<filter process_start>\n  @type record_transformer\n  <record>\n    t ${record['t'].to_i}\n  </record>\n</filter>\n"
        "<match process_start>\n  @type prometheus\n  <metric>\n    name x\n    type gauge\n  </metric>\n</match>\n"
        f"{TAIL}  format none\n</source>\n<match **>\n  @type stdout\n</match>\n")
    assert problems == [] and sum("a number of fluentd's own" in note for note in draft.notes) == 3


def test_a_placeholder_of_another_tool_is_said_wherever_it_was_carried_over():
    """In a grep it became an expression that finds nothing: the journal's units came twice."""
    source, problems = source_of("  format json", (
        "<filter app>\n  @type grep\n  <exclude>\n    key unit\n    pattern ^(docker|{{ runtime }})\\.service$\n  </exclude>\n"
        "</filter>\n"))
    assert source["drop"] and len(problems) == 1 and "holds a placeholder {{...}}" in problems[0]


class TestSomePodsOnly:
    """A tag that is the path of each file: sections may be for some of the files. They were taken for none, without a word or
    with a wrong one."""

    @pytest.mark.parametrize(("pattern", "wanted"), [
        ("kubernetes.var.log.containers.**kube-system**.log", ["*kube-system*.log"]),
        ("kubernetes.var.log.containers.fluentd**", ["fluentd*"]),
        ("kubernetes.var.log.containers.**_kube-system_** kubernetes.var.log.containers.{es,kibana}-**",
         ["*_kube-system_*", "es-*", "kibana-*"]),
        ("kubernetes.**istio**", ["*istio*"]),
        ("**_kube-system_**", ["*_kube-system_*"]),
    ])
    @pytest.mark.parametrize("how", ["@type null", "@type relabel\n  @label @FLUENT_LOG"])
    def test_what_fluentd_threw_away_is_not_read(self, pattern: str, wanted: list[str], how: str):
        config, problems, _ = converted(PODS.format(
            tag="kubernetes.*", between=f"<match {pattern}>\n  {how}\n</match>\n").replace("google_cloud", "stdout")
            + "<label @FLUENT_LOG>\n  <match **>\n    @type null\n  </match>\n</label>\n")
        assert problems == [] and config["sources"]["containers"]["exclude"] == wanted

    def test_what_only_one_of_two_copies_threw_away_is_read_and_said(self):
        null = "<match kubernetes.**kube-system**>\n  @type null\n</match>\n"
        out = "<match **>\n  @type stdout\n</match>\n"
        config, problems, _ = converted(PODS.format(tag="kubernetes.*", between="").partition("<match")[0] + (
            "<match **>\n  @type copy\n  <store>\n    @type relabel\n    @label @A\n  </store>\n  <store>\n    @type relabel\n"
            f"    @label @B\n  </store>\n</match>\n<label @A>\n{null}{out}</label>\n<label @B>\n{out}</label>\n"))
        assert "exclude" not in config["sources"]["containers"] and len(problems) == 1
        assert "threw away" in problems[0]

    @pytest.mark.parametrize("pattern", ["*", "kubernetes.*", "docker.**", "/^fluent\\./", "fluent.**"])
    def test_a_pattern_that_takes_no_file_is_not_said_to_take_some(self, pattern: str):
        _, problems, _ = converted(PODS.format(
            tag="kubernetes.*", between=f"<filter {pattern}>\n  @type stdout\n</filter>\n").replace("google_cloud", "stdout"))
        assert not any("some files" in why for why in problems)

    def test_a_pattern_with_a_billion_ways_takes_no_time(self):
        _, problems, _ = converted(PODS.format(
            tag="kubernetes.*", between="<filter fluent." + "{a,b}" * 30 + ">\n  @type stdout\n</filter>\n"))
        assert not any("some files" in why for why in problems)

    def test_a_star_that_stops_at_a_dot_is_left_to_a_person(self):
        config, problems, _ = converted(PODS.format(
            tag="kubernetes.*", between="<match kubernetes.var.log.containers.web-*.log>\n  @type null\n</match>\n").replace(
            "google_cloud", "stdout"))
        assert "exclude" not in config["sources"]["containers"]
        assert len(problems) == 1 and "exclude: ['web-*.log']" in problems[0]

    @pytest.mark.parametrize(("section", "mend"), [
        ("<filter kubernetes.var.log.containers.nginx**>\n  @type parser\n  key_name log\n  format nginx\n</filter>\n",
         "process: [{when: {pod: [...]}"),
        ("<match kubernetes.**_nginx_**.log>\n  @type loki\n  url http://l:3100\n</match>\n", "when: {pod: [...]} in a sink"),
        ("<match kubernetes.**istio**>\n  @type rewrite_tag_filter\n  <rule>\n    key log\n    pattern ^(.*)$\n    tag i.${tag}\n"
         "  </rule>\n</match>\n", "when: {pod: [...]} in a sink"),
    ])
    def test_what_is_for_some_pods_is_said_as_that(self, section: str, mend: str):
        _, problems, _ = converted(PODS.format(tag="kubernetes.*", between=section).replace("google_cloud", "stdout"))
        assert len(problems) == 1 and "some files of source containers" in problems[0] and mend in problems[0]

    def test_what_takes_all_of_one_source_and_some_of_another_is_carried_over_and_said(self):
        other = "<source>\n  @type tail\n  path /var/log/containers/web-*.log\n  tag kubernetes.*\n  format json\n</source>\n"
        config, problems, _ = converted(other + PODS.format(
            tag="kubernetes.*", between="<match kubernetes.var.log.containers.web-**>\n  @type loki\n  url http://l\n</match>\n"
            ).replace("google_cloud", "stdout"))
        assert config["sinks"]["loki"]["when"] == {"source": ["containers"]}
        assert len(problems) == 1 and "some files of source containers-2" in problems[0]

    def test_the_logs_of_containers_are_not_named_by_a_path_that_there_is_not(self):
        config, problems, _ = converted(PODS.format(tag="raw.kubernetes.*", between=(
            "<match raw.kubernetes.**>\n  @type detect_exceptions\n  remove_tag_prefix raw\n</match>\n")))
        assert [sink["log_name"] for sink in config["sinks"].values()] == ["{container}"] and len(problems) == 1


REGEX = "  <parse>\n    @type regexp\n    expression /^(?<time>\\S+) (?<a>.*)$/\n    time_format {}\n  </parse>"


class TestRecordsOfSeveralLines:
    TEXT = ("  <parse>\n    @type multiline\n    format_firstline /\\d{4}-\\d\\d-\\d\\d/\n"
            "    format1 /^(?<time>\\d{4}-\\d\\d-\\d\\d [\\d:]{8}) \\[(?<thread>[^\\]]*)\\] (?<level>\\S+) /\n"
            "    format2 /(?<message>.*)$/\n  </parse>")

    @pytest.mark.parametrize("text", [TEXT, TEXT.replace(" /\n    format2 /", " ")])
    def test_the_lines_behind_the_first_are_shipped(self, text: str, tmp_path: Path):
        """In fluentd's multiline a point takes newlines, too: of each trace only the first line was left, without a word."""
        source, problems = source_of(text)
        log, out = tmp_path / "app.log", tmp_path / "out.ndjson"
        log.write_text("2026-11-20 09:04:05 [main] ERROR boom\n  at x\n  at y\n2026-11-20 09:04:06 [main] INFO next\n")
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump({
            "sources": {"app": source | {"include": [str(log)]}}, "state_dir": str(tmp_path / "state"), "admin": {"listen": None},
            "sinks": {"o": {"type": "file", "path": str(out), "start_at": "oldest"}}}))
        assert problems == [] and main(["run", "-c", str(path), "--once", "--timeout", "20s"]) == 0
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert [(row["severity"], row["message"]) for row in rows] == [("ERROR", "boom\n  at x\n  at y"), ("INFO", "next")]


class TestAccessLogs:
    HEAD = '- bob [20/Nov/2026:09:04:05 +0000] "GET /a?b=1 HTTP/1.1" 404 12 "http://x/" "curl/7 (x)"'

    @pytest.mark.parametrize(("kind", "line", "wanted"), [
        ("nginx", f"10.0.0.1 {HEAD}", {"remote": "10.0.0.1", "host": "-", "code": "404", "size": "12"}),
        ("nginx", f'10.0.0.1 {HEAD} "1.2.3.4"', {"remote": "10.0.0.1", "host": "-", "code": "404", "size": "12",
                                               "http_x_forwarded_for": '"1.2.3.4"'}),
        ("apache2", f"10.0.0.1 {HEAD}", {"host": "10.0.0.1", "code": 404, "size": 12}),
    ])
    def test_their_fields_are_those_of_fluentds_parsers(self, kind: str, line: str, wanted: dict[str, Any], tmp_path: Path):
        source, problems = source_of(f"  <parse>\n    @type {kind}\n  </parse>")
        log, out = tmp_path / "app.log", tmp_path / "out.ndjson"
        log.write_text(line + "\nno such line\n")
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump({
            "sources": {"app": source | {"include": [str(log)]}}, "state_dir": str(tmp_path / "state"), "admin": {"listen": None},
            "sinks": {"o": {"type": "file", "path": str(out), "start_at": "oldest"}}}))
        assert problems == [] and main(["run", "-c", str(path), "--once", "--timeout", "20s"]) == 0
        first, second = [json.loads(text) for text in out.read_text().splitlines()]
        assert first["time"] == "2026-11-20T09:04:05Z" and second["message"] == "no such line"
        assert first["fields"] == wanted | {"user": "bob", "method": "GET", "path": "/a?b=1", "referer": "http://x/",
                                            "agent": "curl/7 (x)"}

    def test_the_same_as_a_filter(self):
        source, problems = source_of("  format none", (
            "<filter app>\n  @type parser\n  key_name message\n  <parse>\n    @type nginx\n  </parse>\n</filter>\n"))
        assert problems == [] and "(?P<remote>" in source["parse"]["regex"]


class TestTimes:
    @pytest.mark.parametrize("form", [
        "%Y-%m-%dT%H:%M:%S.%N%:z", "%Y-%m-%d %H:%M:%S,%L", "%d/%b/%Y:%H:%M:%S %z", "%b %d %H:%M:%S.%N %Y", "%b %e %T", "%s",
        "%F %T", "%Y/%m/%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%iso8601"])
    def test_a_usual_form_is_known(self, form: str):
        _, problems = source_of(REGEX.format(form))
        assert problems == []

    def test_seconds_since_1970_are_known_in_each_zone(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("TZ", "Asia/Kathmandu")
        time.tzset()
        try:
            assert known_time("%s") and known_time("%s.%L")
        finally:
            monkeypatch.undo()
            time.tzset()

    @pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M:%S", "%Y%m%d%H%M%S", "%m-%d-%Y %I:%M:%S %p", "%d.%m.%y %T"])
    def test_a_form_that_is_not_known_is_said(self, form: str):
        """"The usual times are known": the records had the time at which they were read, without a word."""
        _, problems = source_of(REGEX.format(form))
        assert len(problems) == 1 and f"time_format {form}" in problems[0] and "the time of reading" in problems[0]
        _, problems = source_of("  format none", (
            "<filter app>\n  @type parser\n  key_name message\n  <parse>\n    @type regexp\n    expression /^(?<time>\\S+)/\n"
            f"    time_format {form}\n  </parse>\n</filter>\n"))
        assert len(problems) == 1 and "the time of reading" in problems[0]

    def test_of_a_containers_line_the_runtimes_time_is_taken_whatever_was_said(self):
        _, problems, _ = converted(PODS.format(tag="stdout", between="").replace(
            "format json", "format json\n  time_format %d.%m.%y").replace("google_cloud", "stdout"))
        assert problems == []


class TestSources:
    def test_several_formats_of_a_host_file_are_one_parser_or_said_once(self):
        pattern = "    <pattern>\n      format {}\n    </pattern>\n"
        text = f"  <parse>\n    @type multi_format\n{pattern}{pattern}  </parse>"
        source, problems = source_of(text.format("json", "none"))
        assert problems == [] and source["format"] == "json"
        source, problems = source_of(text.format("/^(?<a>\\d+) (?<b>.*)$/", "none"))
        assert problems == [] and source["parse"] == {"regex": r"^(?P<a>\d+) (?P<b>.*)$"}
        source, problems = source_of(text.format("csv", "json"))
        assert source["format"] == "plain" and len(problems) == 1 and "one parser a source" in problems[0]

    @pytest.mark.parametrize(("text", "wanted"), [
        ("  format json", {"format": "json"}),
        ("  <parse>\n    @type syslog\n  </parse>", {"format": "syslog"}),
        ("  <parse>\n    @type none\n  </parse>", {"format": "plain"}),
        ("  <parse>\n    @type regexp\n    expression /^(?<a>.*) (?<n>\\d+)$/\n    types n:integer\n  </parse>",
         {"format": "plain", "parse": {"regex": r"^(?P<a>.*) (?P<n>\d+)$", "types": {"n": "integer"}}}),
        ("  format none\n  exclude_path [\"/var/log/x.log\"]", {"format": "plain", "exclude": ["/var/log/x.log"]}),
        ("  format none\n  max_line_size 512k", {"format": "plain", "max_line": "512KiB"}),
    ])
    def test_tail_of_a_host_file(self, text, wanted):
        source, problems = source_of(text)
        assert problems == []
        assert source == {"type": "files", "include": ["/var/log/app.log"], "start_at": "beginning"} | wanted

    def test_a_parser_that_is_not_there_leaves_the_line_whole_and_is_said(self):
        source, problems = source_of("  format ltsv2")
        assert source["format"] == "plain"
        assert problems == ["format ltsv2 in <source> @type tail: no parser named ltsv2; the line is shipped whole. Write "
                            "it as "
                            "parse: {regex: '(?P<name>...)'}"]

    def test_a_source_that_is_no_log_is_refused_with_what_to_do(self):
        _, problems, _ = converted("<source>\n  @type http\n  port 9880\n</source>\n")
        assert "shipper has no source like http: it reads log files, the journal and /dev/kmsg" in problems[0]

    @pytest.mark.parametrize("joins", [
        "<match raw.**>\n  @type detect_exceptions\n  remove_tag_prefix raw\n</match>\n",
        "<filter **>\n  @type concat\n  key MESSAGE\n  multiline_start_regexp /^\\d/\n</filter>\n"])
    def test_a_journal_whose_lines_were_joined_is_a_config_that_check_takes(self, joins: str):
        config, problems, draft = converted(
            f"<source>\n  @type systemd\n  tag raw.j\n</source>\n{joins}<match **>\n  @type stdout\n</match>\n")
        assert problems == [] and "multiline" not in next(iter(config["sources"].values()))
        assert any("is whole already" in note for note in draft.notes)
        load_text(draft.yaml(), "c.yaml", {})

    def test_a_journal_with_other_matches_and_a_placeholder(self):
        config, problems, _ = converted(
            '<source>\n  @type systemd\n  tag j\n  matches [{"_SYSTEMD_UNIT": "{{ x }}.service"}, {"_UID": "0"}, {"_TRANSPORT": '
            '"kernel"}]\n'
            "</source>\n<match **>\n  @type stdout\n</match>\n")
        assert config["sources"]["j"] == {
            "type": "journal", "units": ["{{ x }}.service"], "identifiers": ["kernel"], "directory": "/var/log/journal",
            "start_at": "end"}
        assert len(problems) == 3 and any("placeholder" in p for p in problems)
        assert any("units and identifiers must both" in p for p in problems)

    def test_a_reformer_that_takes_its_own_records_again_does_not_hang_the_conversion(self):
        """With two tags each of its 20 rounds doubled them."""
        _, problems, _ = converted(
            f"{TAIL}  format none\n</source>\n<match **>\n  @type record_reformer\n"
            "  tag ${record['stream'] == 'stderr' ? 'a' : 'b'}.${tag}\n</match>\n<match **>\n  @type stdout\n</match>\n")
        assert any("no output takes its records" in p for p in problems)

    def test_a_source_that_no_output_takes_is_said(self):
        _, problems, _ = converted(f"{TAIL}  format none\n</source>\n<match other>\n  @type stdout\n</match>\n")
        assert any("no output takes its records" in p for p in problems)
        assert any("no source that was converted sends records to it" in p for p in problems)

    def test_labels_and_relabel_are_followed(self):
        config, problems, _ = converted(
            f"{TAIL}  format none\n  @label @A\n</source>\n<label @A>\n  <match **>\n    @type relabel\n    @label @B\n  "
            f"</match>\n</label>\n"
            "<label @B>\n  <filter **>\n    @type parser\n    key_name message\n    <parse>\n      @type json\n    </parse>\n  "
            "</filter>\n"
            "  <match app>\n    @type stdout\n  </match>\n</label>\n")
        assert problems == [] and config["sources"]["app"]["parse"] == "json" and list(config["sinks"]) == ["stdout"]


class TestFilters:
    def test_grep_becomes_keep_and_drop(self):
        source, problems = source_of("  format json", (
            "<filter app>\n  @type grep\n  <regexp>\n    key level\n    pattern /warn|error/\n  </regexp>\n"
            "  <exclude>\n    key message\n    pattern ^GET /healthz\n  </exclude>\n</filter>\n"))
        assert problems == []
        assert source["keep"] == [{"severity": ["WARNING", "ERROR"]}] and source["drop"] == [{"match": "^GET /healthz"}]

    @pytest.mark.parametrize(("format", "key", "pattern", "wanted"), [
        ("json", "level", "/^(ERROR|FATAL)$/", {"severity": ["ERROR", "CRITICAL"]}),
        ("json", "$.level", "^(debug|trace)$", {"severity": ["DEBUG"]}),
        ("json", "severity", "/info/i", {"severity": ["INFO"]}),
        ("json", "log_level", "error", {"field": "log_level", "match": "error"}),
        ("/^(?<level>\\w+) (?<message>.*)$/", "level", "ERROR", {"severity": ["ERROR"]}),
        ("/^(?<module>\\w+) (?<message>.*)$/", "level", "ERROR", {"field": "level", "match": "ERROR"}),
        ("none", "level", "ERROR", {"field": "level", "match": "ERROR"}),
    ])
    def test_a_grep_on_what_the_parser_takes_as_the_severity_asks_for_the_severity(self, format, key, pattern, wanted):
        """`keep` on a field that is no field any more: every record was dropped."""
        source, problems = source_of(f"  format {format}", (
            f"<filter app>\n  @type grep\n  <regexp>\n    key {key}\n    pattern {pattern}\n  </regexp>\n</filter>\n"))
        assert problems == [] and source["keep"] == [wanted]

    def test_a_level_that_is_no_severity_is_said(self):
        text = f"{TAIL}  format json\n</source>\n<filter app>\n  @type grep\n  <regexp>\n    key level\n    pattern audit\n" \
            "  </regexp>\n</filter>\n<match **>\n  @type stdout\n</match>\n"
        _, problems, draft = converted(text)
        assert draft.problems[0][:2] == ("f.conf", 1)
        assert len(problems) == 1 and "keep of source app: level" in problems[0] and "names no severity" in problems[0]

    @pytest.mark.parametrize(("pattern", "dropped", "said"), [
        ("^trace$", {"field": "level", "match": "^trace$"}, ["TRACE is DEBUG here"]),
        ("/^(info|fatal)$/", {"severity": ["INFO"]}, ["FATAL is CRITICAL here"]),
        ("/^(trace|debug)$/i", {"severity": ["DEBUG"]}, []), ("^(WARN|err)", {"severity": ["WARNING", "ERROR"]}, []),
    ])
    def test_a_level_that_was_thrown_away_takes_no_others_with_it(self, pattern: str, dropped: dict[str, Any], said: list[str]):
        """Who threw TRACE away lost DEBUG, and of FATAL all that is CRITICAL, without a word."""
        source, problems = source_of("  format json", (
            f"<filter app>\n  @type grep\n  <exclude>\n    key level\n    pattern {pattern}\n  </exclude>\n</filter>\n"))
        assert source["drop"] == [dropped] and len(problems) == len(said)
        assert all(text in problem for text, problem in zip(said, problems, strict=True))

    def test_records_that_a_grep_on_the_level_kept_are_shipped(self, tmp_path: Path):
        log, out = tmp_path / "app.log", tmp_path / "out.ndjson"
        log.write_text("".join(json.dumps({"level": level, "msg": level}) + "\n" for level in ("debug", "WARN", "error", "info")))
        config, _, _ = converted(f"{TAIL}  format json\n</source>\n<filter app>\n  @type grep\n  <regexp>\n    key level\n"
                                 "    pattern /warn|error/i\n  </regexp>\n</filter>\n<match **>\n  @type stdout\n</match>\n")
        config["sources"]["app"]["include"] = [str(log)]
        config["sinks"] = {"o": {"type": "file", "path": str(out), "start_at": "oldest"}}
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump(config | {"state_dir": str(tmp_path / "state"), "admin": {"listen": None}}))
        assert main(["run", "-c", str(path), "--once", "--timeout", "20s"]) == 0
        assert [json.loads(line)["message"] for line in out.read_text().splitlines()] == ["WARN", "error"]

    def test_where_google_alone_gets_them_the_level_stays_a_field(self):
        config, _, _ = converted(
            f"{TAIL}  format json\n</source>\n<filter app>\n  @type grep\n  <regexp>\n    key level\n    pattern error\n"
            "  </regexp>\n</filter>\n<match **>\n  @type google_cloud\n  detect_json true\n</match>\n")
        (source,) = config["sources"].values()
        google = str(source.get("parse", "")).startswith("gcp")
        assert source["keep"] == [{"field": "level", "match": "error"} if google else {"severity": ["ERROR"]}]

    def test_a_filter_in_front_of_one_of_two_outputs_does_not_filter_the_other(self):
        """The alerts' `grep` emptied the archive, without a word."""
        stores = "".join(f"  <store>\n    @type relabel\n    @label {label}\n  </store>\n" for label in ("@ALL", "@ALERTS"))
        config, problems, _ = converted(
            f"{TAIL}  format json\n</source>\n<match **>\n  @type copy\n{stores}</match>\n"
            "<label @ALL>\n  <match **>\n    @type stdout\n  </match>\n</label>\n"
            "<label @ALERTS>\n  <filter **>\n    @type grep\n    <regexp>\n      key level\n      pattern error\n    </regexp>\n"
            "  </filter>\n  <match **>\n    @type http\n    endpoint http://a/x\n  </match>\n</label>\n")
        assert "keep" not in config["sources"]["app"] and len(problems) == 1
        assert "in front of one of several outputs or streams" in problems[0] and "when: {severity: [...]}" in problems[0]

    @pytest.mark.parametrize(("pattern", "applied"), [("stdout", False), ("{stdout,stderr}", True), ("**", True)])
    def test_a_filter_of_one_stream_does_not_filter_the_other(self, pattern: str, applied: bool):
        """fluentd-gcp gives the two streams tags of their own: what was left out of stdout was left out of stderr."""
        between = ("<match reform.**>\n  @type record_reformer\n"
                   "  tag ${if record['stream'] == 'stderr' then 'raw.stderr' else 'raw.stdout' end}\n</match>\n"
                   "<match {raw.stderr,raw.stdout}>\n  @type detect_exceptions\n  remove_tag_prefix raw\n</match>\n"
                   f"<filter {pattern}>\n  @type grep\n  <regexp>\n    key message\n    pattern healthz\n  </regexp>\n"
                   "</filter>\n")
        config, problems, _ = converted(PODS.format(tag="reform.*", between=between))
        assert config["sources"]["containers"].get("keep") == ([{"match": "healthz"}] if applied else None)
        assert not any("had to hold" in why for why in problems)
        assert any("one of several outputs or streams" in why for why in problems) is not applied

    def test_what_is_masked_for_one_of_two_outputs_is_masked_for_both_and_said(self):
        stores = "".join(f"  <store>\n    @type relabel\n    @label {label}\n  </store>\n" for label in ("@ALL", "@B"))
        config, problems, _ = converted(
            f"{TAIL}  format none\n</source>\n<match **>\n  @type copy\n{stores}</match>\n"
            "<label @ALL>\n  <match **>\n    @type stdout\n  </match>\n</label>\n<label @B>\n  <filter **>\n"
            "    @type record_modifier\n    <replace>\n      key message\n      expression /acct-\\d+/\n      replace x\n"
            "    </replace>\n  </filter>\n  <match **>\n    @type http\n    endpoint http://a/x\n  </match>\n</label>\n")
        assert config["sources"]["app"]["redact"] and len(problems) == 1
        assert "holds for the source's other outputs, too" in problems[0]

    def test_conditions_that_all_had_to_hold_are_said_not_weakened_in_silence(self):
        _, problems = source_of("  format json", (
            "<filter app>\n  @type grep\n  <regexp>\n    key a\n    pattern x\n  </regexp>\n  <regexp>\n    key b\n    pattern "
            "y\n  </regexp>\n"
            "</filter>\n"))
        assert any("all of its <regexp> had to hold" in p for p in problems)

    @pytest.mark.parametrize("key", ['$["kubernetes"]["labels"]["app.kubernetes.io/name"]', "$['kubernetes']['labels']['app']",
                                     "$.kubernetes.labels['app']", "$.kubernetes.labels.app"])
    def test_however_a_label_is_written_in_a_grep_it_is_none_of_the_messages_fields(self, key: str):
        """It became a field that no record has, in `keep`: every record was dropped."""
        source, problems = source_of("  format none", (
            f"<filter app>\n  @type grep\n  <regexp>\n    key {key}\n    pattern web\n  </regexp>\n</filter>\n"))
        assert "keep" not in source and len(problems) == 1
        assert problems[0].startswith("<filter app> @type grep: kubernetes.labels.app")
        assert "not a field of the message" in problems[0]

    def test_a_field_in_a_grep_may_be_written_in_brackets(self):
        source, problems = source_of("  format json", (
            '<filter app>\n  @type grep\n  <exclude>\n    key $["http"]["path"]\n    pattern /HEALTH/i\n'
            "  </exclude>\n</filter>\n"))
        assert problems == [] and source["drop"] == [{"field": "http.path", "match": "(?i)HEALTH"}]

    @pytest.mark.parametrize(("kind", "pattern", "key", "wanted"), [
        ("exclude", "^kube-system$", "exclude", ["*_kube-system_*"]),
        ("exclude", "/^(kube-system|istio-system)$/", "exclude", ["*_kube-system_*", "*_istio-system_*"]),
        ("exclude", "/kube-/", "exclude", ["*_*kube-*_*"]),
        ("regexp", "/^prod-/", "include", ["/var/log/containers/*_prod-*_*.log"]),
        ("regexp", "/^(a|b)$/", "include", ["/var/log/containers/*_a_*.log", "/var/log/containers/*_b_*.log"]),
    ])
    def test_a_grep_on_the_namespace_chooses_the_files(self, kind, pattern, key, wanted):
        config, problems, _ = converted(PODS.format(tag="kubernetes.*", between=(
            f"<filter kubernetes.**>\n  @type grep\n  <{kind}>\n    key $.kubernetes.namespace_name\n    pattern {pattern}\n"
            f"  </{kind}>\n</filter>\n")).replace("google_cloud", "stdout"))
        assert problems == [] and config["sources"]["containers"][key] == wanted

    def test_a_grep_on_the_pods_names_points_to_when_and_exclude(self):
        source, problems = source_of("  format none", (
            "<filter app>\n  @type grep\n  <exclude>\n    key $.kubernetes.namespace_name\n    pattern kube-system\n  "
            "</exclude>\n</filter>\n"))
        assert "drop" not in source and any("choose pods with exclude" in p for p in problems)

    def test_a_concat_that_says_which_lines_go_on_is_said(self):
        source, problems = source_of("  format json", (
            "<filter app>\n  @type concat\n  key log\n  multiline_start_regexp /^\\d/\n"
            "  continuous_line_regexp /^ /\n</filter>\n"))
        assert source["multiline"] == {"start": r"^\d"} and len(problems) == 1 and "continuous_line_regexp" in problems[0]

    def test_concat_of_dockers_pieces_is_done_without_it(self):
        """Most configs for Elasticsearch have it: it was said to need a pattern for the next record."""
        source, problems = source_of("  format json", (
            "<filter app>\n  @type concat\n  key log\n  multiline_end_regexp /\\n$/\n  separator \"\"\n</filter>\n"))
        assert problems == [] and "multiline" not in source

    def test_concat_is_multiline_and_an_unknown_filter_is_refused(self):
        source, problems = source_of("  format none", (
            "<filter app>\n  @type concat\n  key message\n  multiline_start_regexp /^\\d{4}/\n</filter>\n"
            "<filter app>\n  @type geoip\n</filter>\n"))
        assert source["multiline"] == {"start": r"^\d{4}"}
        assert problems == ["<filter app> @type geoip: no filter geoip here; see docs/processing for parse, keep, drop, redact, "
                            "limit and "
                            "multiline"]

    @pytest.mark.parametrize(("value", "wanted"), [
        ('${record["log"].gsub(/password=\\S+/, "password=***")}', [r"password=\S+"]),
        ("${record['message'].gsub(/\\d{3}-\\d{2}-\\d{4}/, '***').gsub(/token[=:]\\h+/i, 'x')}",
         [r"\d{3}-\d{2}-\d{4}", r"(?i)token[=:][0-9a-fA-F]+"]),
        ('${record["log"].gsub(/a\\/b.c/m, "")}', [r"(?s)a/b.c"]),
        ('${record["log"].gsub(/^key \\w+/, "")}', [r"(?m)^key \w+"]),
        ("${record['message'].gsub!(/secret=\\S+/, 'x')}", [r"secret=\S+"]),
    ])
    def test_what_fluentd_masked_is_masked(self, value: str, wanted: list[str]):
        source, problems = source_of("  format none", (
            "<filter app>\n  @type record_transformer\n  enable_ruby true\n"
            f"  <record>\n    log {value}\n  </record>\n</filter>\n"))
        assert problems == [] and [rule["pattern"] for rule in source["redact"]] == wanted
        assert len({rule["name"] for rule in source["redact"]}) == len(wanted)
        load_text(yaml.safe_dump({"sources": {"a": source}, "sinks": {"o": {"type": "stdout"}}}), "c.yaml", {})

    def test_replace_of_record_modifier_masks_too(self):
        source, problems = source_of("  format none", (
            "<filter app>\n  @type record_modifier\n  <replace>\n    key message\n    expression /acct-\\d+/\n"
            "    replace acct-x\n  </replace>\n</filter>\n"))
        assert problems == [] and source["redact"] == [{"name": "masked", "pattern": r"acct-\d+"}]

    @pytest.mark.parametrize("value", [
        '${record["log"].gsub(/(user)=\\w+/, "#{$1}=x")}', '${record["log"].sub!(/a/, "b")}', '${record["log"].sub(/a/, "b")}',
        '${record["log"].gsub(PATTERN, "x")}'])
    def test_masking_that_is_not_understood_is_said_as_that(self, value: str):
        source, problems = source_of("  format none", (
            f"<filter app>\n  @type record_transformer\n  <record>\n    log {value}\n  </record>\n</filter>\n"))
        assert "redact" not in source and len(problems) == 1 and "is shipped as it stands: write redact" in problems[0]

    def test_detect_json_beside_an_expression_is_converted_and_said(self):
        """It ended the conversion with a TypeError."""
        _, problems, draft = converted(
            f"{TAIL}  format /^(?<a>\\d+) (?<message>.*)$/\n</source>\n<match **>\n  @type google_cloud\n  detect_json true\n"
            "</match>\n")
        assert problems == [] and draft.sources["app"].keys["parse"] == {"regex": r"^(?P<a>\d+) (?P<message>.*)$"}
        assert any("detect_json: messages of source app stay text; it has parse: {'regex'" in note for note in draft.notes)

    @pytest.mark.parametrize(("text", "parser"), [
        ("  format /^(?<a>\\d+) (?<log>.*)$/", "json"), ("  format syslog", "json"), ("  format /^(?<a>.*)$/", "logfmt")])
    def test_a_second_parser_is_said(self, text: str, parser: str):
        _, problems = source_of(text, (
            f"<filter app>\n  @type parser\n  key_name log\n  <parse>\n    @type {parser}\n  </parse>\n</filter>\n"))
        assert len(problems) == 1 and "already; one parser a source" in problems[0]

    def test_a_computed_field_is_said(self):
        _, problems = source_of("  format none", (
            "<filter app>\n  @type record_transformer\n  <record>\n    hostname \"#{Socket.gethostname}\"\n    env prod\n  "
            "</record>\n</filter>\n"))
        assert problems == ["env prod in <record>: adds or computes a field; records have the fields that were parsed. Fixed "
                            "ones can be "
                            "set in some sinks (labels of loki, tags of datadog)"]


class TestOutputs:
    @pytest.mark.parametrize(("text", "wanted"), [
        ("  @type elasticsearch\n  host es\n  port 9201\n  scheme https\n  logstash_format true\n  logstash_prefix k8s",
         {"type": "elasticsearch", "url": "https://es:9201", "index": "k8s-{time:%Y.%m.%d}"}),
        ("  @type splunk_hec\n  hec_host s\n  hec_token \"#{ENV['T']}\"\n  index main",
         {"type": "splunk_hec", "url": "https://s:8088", "token": "${T}", "index": "main"}),
        ("  @type loki\n  url http://l:3100\n  tenant t", {"type": "loki", "url": "http://l:3100", "tenant": "t"}),
        ("  @type http\n  endpoint https://h/x\n  json_array true", {"type": "http", "url": "https://h/x", "format": "json"}),
        ("  @type forward\n  <server>\n    host a\n    port 1\n  </server>", {"type": "forward", "address": "a:1"}),
        ("  @type gcs\n  bucket b\n  path logs/\n  project p", {
            "type": "gcs", "bucket": "b", "project": "p", "prefix": "logs/{yyyy}/{mm}/{dd}/{hh}"}),
        ("  @type stdout", {"type": "stdout"}),
        ("  @type file\n  path /out/app", {"type": "file", "path": "/out/app.ndjson"}),
    ])
    def test_ours(self, text, wanted):
        sink, problems = sink_of(text)
        assert problems == [] and sink == wanted | {"start_at": "oldest"}

    @pytest.mark.parametrize(("text", "wanted", "said"), [
        ("  @type remote_syslog\n  host h\n  port 6514\n  protocol tcp\n  tls true\n  ca_file /ca.pem\n  severity info\n"
         "  program x",
         {"type": "syslog", "address": "h:6514", "protocol": "tls", "format": "rfc3164", "framing": "newline",
          "tls": {"ca": "/ca.pem"},
          "severity": {"": "info", "stdout": "info", "stderr": "info"}}, ["APP-NAME"]),
        ("  @type remote_syslog\n  host h\n  rfc rfc5424\n  facility local6\n  packet_size 4096",
         {"type": "syslog", "address": "h:514", "protocol": "udp", "format": "rfc5424", "facility": "local6",
          "max_message": 4096}, []),
        ("  @type papertrail\n  papertrail_host logs.papertrailapp.com\n  papertrail_port 4512",
         {"type": "syslog", "address": "logs.papertrailapp.com:4512", "protocol": "tls", "format": "rfc5424",
          "framing": "newline"}, []),
        ("  @type datadog\n  api_key XXXX\n  host 'http-intake.logs.datadoghq.eu'\n  dd_source 'nginx'\n  service web\n"
         "  dd_tags 'env:prod,team:a'",
         {"type": "datadog", "url": "https://http-intake.logs.datadoghq.eu", "api_key": "${DD_API_KEY}", "source": "nginx",
          "service": "web", "tags": {"env": "prod", "team": "a"}}, ["is not copied"]),
        ("  @type gcloud_pubsub\n  project p\n  topic t\n  key /k.json\n  autocreate_topic false",
         {"type": "pubsub", "topic": "t", "project": "p", "credentials_file": "/k.json"}, []),
    ])
    def test_sinks_that_there_are_were_said_not_to_be_there(self, text, wanted, said):
        sink, problems = sink_of(text)
        assert sink == wanted | {"start_at": "oldest"}
        assert [any(word in why for why in problems) for word in said] == [True] * len(said) and len(problems) == len(said)
        assert not any("XXXX" in why for why in problems)

    def test_a_store_that_only_counts_is_nothing_to_look_at(self):
        _, problems, _ = converted(
            f"{TAIL}  format none\n</source>\n<match **>\n  @type copy\n  <store>\n    @type stdout\n  </store>\n  <store>\n"
            "    @type prometheus\n    <metric>\n      name x\n      type counter\n    </metric>\n  </store>\n</match>\n")
        assert problems == []

    def test_labels_of_loki_that_are_the_pods_names_are_ours(self):
        sink, problems = sink_of("  @type loki\n  url http://l:3100\n  <label>\n    pod $.kubernetes.pod_name\n"
                                 "    app $['kubernetes']['labels']['app']\n    code $.http.code\n  </label>")
        assert sink["labels"] == {"pod": "{pod|none}", "app": "{labels.app|none}"}
        assert len(problems) == 1 and problems[0].startswith("code $.http.code in <label>: labels from fields of a record")

    @pytest.mark.parametrize(("text", "wanted"), [
        ("${$.kubernetes.namespace_name}", "{namespace|none}"), ("app-${record['kubernetes']['pod_name']}", "app-{pod|none}"),
        ('${$["kubernetes"]["labels"]["app.kubernetes.io/name"]}', "{labels.app.kubernetes.io/name|none}")])
    def test_the_pods_names_in_an_index_are_ours(self, text: str, wanted: str):
        sink, problems = sink_of(f"  @type elasticsearch\n  index_name {text}\n  pipeline geo\n  client_cert /c\n  client_key /k")
        assert problems == [] and sink["index"] == wanted
        assert (sink["pipeline"], sink["tls"]) == ("geo", {"cert": "/c", "key": "/k"})

    @pytest.mark.parametrize(("keys", "wanted"), [
        ("  index_name app", "app"), ("  logstash_format true", "logstash-{time:%Y.%m.%d}"), ("", "fluentd")])
    def test_an_index_that_fluentd_wrote_into_is_kept_and_warned_of(self, keys: str, wanted: str):
        """Its documents have `log` as text: of ours all with a severity would have become dead letters."""
        config, problems, draft = converted(
            f"{TAIL}  format none\n</source>\n<match **>\n  @type elasticsearch\n{keys}\n</match>\n")
        (sink,) = config["sinks"].values()
        assert problems == [] and sink["index"] == wanted
        assert "its `log` is text, and our `log.level` is refused there" in draft.yaml()

    def test_a_buffer_section(self):
        config, problems, _ = converted(
            f"{TAIL}  format none\n</source>\n<match **>\n  @type stdout\n  <buffer tag>\n    @type file\n    path /b\n    "
            f"total_limit_size 4g\n"
            "    overflow_action drop_oldest_chunk\n    flush_thread_count 3\n    retry_timeout 72h\n    retry_max_times 5\n  "
            "</buffer>\n</match>\n")
        assert config["buffer"] == {"max_size": "4GiB"}
        assert config["sinks"]["stdout"] == {
            "type": "stdout", "start_at": "oldest", "when_full": "drop_oldest", "concurrency": 3, "give_up_after": "72h"}
        assert problems == ["retry_max_times 5 in <buffer tag> @type file: tries are not counted; write give_up_after: "
                            "DURATION, or leave it: "
                            "requests are tried for ever"]

    def test_a_copy_feeds_each_of_its_stores_and_one_without_a_sink_is_said(self):
        config, problems, _ = converted(
            f"{TAIL}  format none\n</source>\n<match **>\n  @type copy\n  <store>\n    @type stdout\n  </store>\n  <store>\n    "
            f"@type s3\n"
            "    s3_bucket b\n  </store>\n</match>\n")
        assert list(config["sinks"]) == ["stdout"]
        assert problems == ["<store> @type s3: shipper has no sink for s3; see docs/sinks for those that there are (forward "
                            "takes records to a "
                            "fluentd that keeps this output)"]

    @pytest.mark.parametrize("text", [
        "  @type http\n  endpoint https://u:hunter2@h/x",
        "  @type elasticsearch\n  hosts https://u:hunter2@es:9200",
        "  @type loki\n  url http://u:hunter2@l:3100",
        '  @type http\n  endpoint https://h/\n  headers {"Authorization": "hunter2"}',
        "  @type splunk_hec\n  hec_host s\n  hec_token hunter2",
        "  @type stdout\n  aws_sec_key hunter2",
        "  @type s3\n  aws_sec_key hunter2",
        "  @type forward\n  <security>\n    shared_key hunter2\n  </security>",
        '  @type bigquery_insert\n  mystery 1\n  json_key {"private_key": "hunter2"}',
    ])
    def test_no_secret_comes_out_wherever_it_stands(self, text: str):
        _, problems, draft = converted(f"{TAIL}  format none\n</source>\n<match **>\n{text}\n</match>\n")
        assert problems and "hunter2" not in draft.yaml() + "".join(problems)

    def test_a_secret_is_neither_copied_nor_shown(self):
        text = "  @type elasticsearch\n  host es\n  user u\n  password hunter2"
        sink, problems = sink_of(text)
        _, _, draft = converted(f"{TAIL}  format none\n</source>\n<match **>\n{text}\n</match>\n")
        assert sink["auth"] == {"user": "u", "password": "${ELASTICSEARCH_PASSWORD}"}
        assert "hunter2" not in draft.yaml() + "".join(problems)
        assert any("a secret that stands in the config is not copied; set ELASTICSEARCH_PASSWORD" in p for p in problems)


def test_an_include_is_reported_unless_it_is_converted_with_it():
    files = {"a.conf": "@include b.conf\n@include /etc/other/x.conf\n", "b.conf": f"{TAIL}  format none\n</source>\n<match "
                                                                                  f"**>\n  @type stdout\n</match>\n"}
    draft = convert(files, "cm")
    assert [why for _, _, why in draft.problems] == [
        "@include /etc/other/x.conf: not read; convert that file too (a ConfigMap is converted whole)"]


@pytest.mark.parametrize(("text", "message"), [
    ("kind: ConfigMap\napiVersion: v1\ndata: {}\n", "a ConfigMap without a fluentd config under data:"),
    ("apiVersion: v1\n  x: [\n", "is no YAML"),
    ("[SERVICE]\n    Flush 1\n<", "neither a directive nor a parameter"),
    ("", "nothing in it reads or sends logs"),
    ("# a comment\n", "nothing in it reads or sends logs"),
])
def test_what_is_no_fluentd_config_is_refused(tmp_path: Path, capsys, text: str, message: str):
    path = tmp_path / "f"
    path.write_text(text)
    assert main(["convert", "fluentd", str(path)]) == 2
    assert message in capsys.readouterr().err
