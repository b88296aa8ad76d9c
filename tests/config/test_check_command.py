"""`shipper check`: what goes where, and the exit code."""
import json

import pytest

from shipper.agent import check_command
from shipper.agent.check_command import run_check, unmatched
from shipper.config.loader import load_text
from shipper.config.schema import json_schema
from shipper.errors import Usage

GOOD = "sources:\n  c: {type: containers}\nsinks:\n  out: {type: syslog, address: 'h:1'}\n"


@pytest.fixture(autouse=True)
def _not_this_machine(monkeypatch):
    """Whether /var/log/containers exists here."""
    monkeypatch.setattr(check_command, "unmatched", lambda config: [])


def test_an_include_that_matches_nothing_is_a_warning(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(check_command, "unmatched", unmatched)
    (tmp_path / "there.log").write_text("")
    path = tmp_path / "c.yaml"
    include = f"['{tmp_path}/*.log', '{tmp_path}/*.lgo', '{tmp_path}/*.gol']"
    path.write_text(f"sources:\n  h: {{type: files, include: {include}}}\nsinks: {{out: {{type: stdout}}}}\n")
    assert run_check(str(path), False, {}) == 0
    found = [line for line in capsys.readouterr().err.splitlines() if "matches" in line]
    assert found == [
        f"warning: sources.h.include: nothing here matches '{tmp_path}/*.lgo', '{tmp_path}/*.gol' now; "
        "nothing is read until something does"]


def test_an_include_that_names_a_directory_says_what_to_write(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(check_command, "unmatched", unmatched)
    path = tmp_path / "c.yaml"
    path.write_text(f"sources:\n  h: {{type: files, include: ['{tmp_path}']}}\nsinks: {{out: {{type: stdout}}}}\n")
    assert run_check(str(path), False, {}) == 0
    assert capsys.readouterr().err == (
        f"warning: sources.h.include: '{tmp_path}' is a directory, and files are read; write {tmp_path}/*.log\n")


def test_a_misspelt_section_is_one_message():
    with pytest.raises(Usage) as caught:
        load_text(GOOD.replace("sources:", "soruces:"), "c.yaml", {})
    assert str(caught.value) == "c.yaml:1:1: soruces: unknown key; did you mean 'sources'?"


def test_a_good_config_is_one_ok_line_with_what_would_run(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD)
    assert run_check(str(path), False, {}) == 0
    assert capsys.readouterr() == (f"ok: {path}: sources c (containers); sinks out (syslog); state in /var/lib/shipper\n", "")


def test_warnings_go_to_stderr_and_do_not_fail(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD.replace("h:1'", "h:1', max_backlog: 2GiB"))
    assert run_check(str(path), False, {}) == 0
    out, err = capsys.readouterr()
    assert out.startswith("ok: ")
    assert err.startswith(f"warning: {path}:4:39: sinks.out.max_backlog: has no effect")


def test_all_problems_go_to_stderr_and_the_code_is_2(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD + "nod: a\nlog: {level: loud}\n")
    assert run_check(str(path), False, {}) == 2
    assert capsys.readouterr() == ("", (
        f"{path}:5:1: nod: unknown key; did you mean 'node'?\n"
        f"{path}:6:14: log.level: 'loud' is not one of debug, error, info, warning\n"))


def test_the_schema_is_json_on_stdout(capsys):
    assert run_check(None, True) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_no_config_and_no_schema_is_wrong_usage():
    with pytest.raises(Usage, match="write shipper check -c FILE"):
        run_check(None, False)


def test_standard_output_in_a_pod_would_be_read_again_unless_it_is_excluded(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    text = "sources:\n  c: {type: containers}\nsinks:\n  out: {type: stdout}\n"
    path.write_text(text)
    assert run_check(str(path), False, {}) == 0
    assert capsys.readouterr().err.startswith(f"warning: {path}:4:9: sinks.out.type: in a pod, what stdout writes becomes")
    path.write_text(text.replace("containers}", "containers, exclude: ['*shipper*']}"))
    assert run_check(str(path), False, {}) == 0
    assert capsys.readouterr().err == ""


def test_a_route_by_labels_is_warned_about_where_the_metadata_are_switched_off(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    text = GOOD.replace("h:1'", "h:1', when: {labels: {app: [web]}}")
    path.write_text(text + "kubernetes: {metadata: 'off'}\n")
    assert run_check(str(path), False, {}) == 0
    assert "sinks.out.when.labels: nothing matches: labels come with Kubernetes metadata" in capsys.readouterr().err
    path.write_text(text)
    assert run_check(str(path), False, {}) == 0
    assert "labels" not in capsys.readouterr().err


def test_a_sink_type_under_another_name_is_told_which_one_serves_it(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD.replace("type: syslog, address: 'h:1'", "type: https, url: 'http://h'"))
    assert run_check(str(path), False, {}) == 2
    said = capsys.readouterr().err
    assert "unknown sink type 'https'; use one of " in said and "https is served by type: http" in said


def test_words_of_other_agents_are_told_as_ours(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    for type_name, said in (("console", "console is served by type: stdout"),
                            ("kafka", "for kafka send to an aggregator that has it, by forward, otlp_http or http")):
        path.write_text(GOOD.replace("type: syslog, address: 'h:1'", f"type: {type_name}"))
        assert run_check(str(path), False, {}) == 2
        assert said in capsys.readouterr().err
    for type_name, ours in (("tail", "files"), ("kubernetes_logs", "containers"), ("journald", "journal")):
        path.write_text(f"sources: {{a: {{type: {type_name}}}}}\nsinks: {{out: {{type: stdout}}}}\n")
        assert run_check(str(path), False, {}) == 2
        assert f"did you mean '{ours}'?" in capsys.readouterr().err


def test_a_sink_type_that_is_nearly_one_is_told_with_the_nearest(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD.replace("type: syslog, address: 'h:1'", "type: elastic, url: 'http://h'"))
    assert run_check(str(path), False, {}) == 2
    assert capsys.readouterr().err.endswith("; did you mean 'elasticsearch'?\n")
