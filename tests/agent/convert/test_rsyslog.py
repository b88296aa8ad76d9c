"""R1: the rsyslog template for container logs, in both of its forms."""
from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from shipper.agent.cli import main
from shipper.agent.convert.rsyslog import convert
from shipper.config.loader import load_text

LEGACY = """\
$ModLoad imfile
$InputFilePollInterval 1
$InputFileName /var/log/containers/*.log
$InputFileTag k8s:
$InputFileStateFile containers
$InputRunFileMonitor
$template t,"%timegenerated:::date-rfc3339% %$!metadata!filename:R,ERE,1,FIELD:([a-zA-Z0-9_-]*)---end% %msg%\\n"
*.* @@${RSYSLOG_TARGET}:${RSYSLOG_PORT};t
"""
SCRIPT = """\
module(load="imfile" mode="inotify")  # files
input(type="imfile"
      File="/var/log/containers/*.log"
      Tag="k8s" addMetadata="on")
template(name="t" type="string"
         string="%timegenerated:::date-rfc3339% %$!metadata!filename:R,ERE,1,FIELD:([a-zA-Z0-9_-]*)---end% %msg%\\n")
action(type="omfwd" Target="`echo $RSYSLOG_TARGET`" Port="${RSYSLOG_PORT}" Protocol="${RSYSLOG_PROTOCOL}" Template="t"
       queue.type="LinkedList" StreamDriver="gtls")
"""
ENVIRON = {"RSYSLOG_TARGET": "10.0.0.1", "RSYSLOG_PORT": "514", "RSYSLOG_PROTOCOL": "udp"}


@pytest.mark.parametrize(("text", "protocol"), [(LEGACY, "tcp"), (SCRIPT, "${RSYSLOG_PROTOCOL}")])
def test_the_template_for_container_logs_sends_the_same_lines_to_the_same_receiver(text: str, protocol: str):
    draft = convert(text, "r.conf")
    config = yaml.safe_load(draft.yaml())
    assert config["sources"] == {"containers": {"type": "containers", "include": ["/var/log/containers/*.log"], "format": "raw"}}
    assert config["sinks"] == {"rsyslog": {
        "type": "syslog", "address": "${RSYSLOG_TARGET}:${RSYSLOG_PORT}", "protocol": protocol, "format": "container-logs",
        "start_at": "oldest"}}
    checked = load_text(draft.yaml(), "c.yaml", ENVIRON).config
    assert checked.sinks["rsyslog"].config.address == "10.0.0.1:514"


def test_each_statement_is_noted_or_reported_with_its_line():
    assert convert(LEGACY, "r.conf").problems == []
    assert convert(SCRIPT, "r.conf").problems == [
        ("r.conf", 7, 'action omfwd streamdriver="gtls": not carried over; see tls in docs/sinks/syslog.md')]
    assert convert(LEGACY + "$Mystery on\nauth.* @10.0.0.1\n", "r.conf").problems == [
        ("r.conf", 9, "$Mystery on: not carried over; see docs/configuration.md whether a key does the same"),
        ("r.conf", 10, "auth.*: facilities and severities do not choose here; all is forwarded")]


def test_a_host_file_goes_as_rfc_5424():
    config = yaml.safe_load(convert('input(type="imfile" File="/var/log/app.log" Tag="a")\n*.* @logs.example.com\n',
                                    "r.conf").yaml())
    assert config["sources"]["files"] == {"type": "files", "include": ["/var/log/app.log"], "format": "plain"}
    assert config["sinks"]["rsyslog"] == {"type": "syslog", "address": "logs.example.com:514", "protocol": "udp",
                                          "format": "rfc5424",
                                          "start_at": "oldest"}


def test_framing_and_where_to_begin_are_carried_over_and_each_key_of_an_input_is_said():
    """They went in silence."""
    template = LEGACY.splitlines()[6] + "\n"
    draft = convert(template + 'input(type="imfile" file="/var/log/containers/*.log" tag="k" freshStartTail="on" '
                    'readMode="2")\n'
                    'action(type="omfwd" target="a" port="1" protocol="tcp" tcp_framing="octet-counted")\n'
                    "*.* @@(o)b:2;t\n", "r.conf")
    config = yaml.safe_load(draft.yaml())
    assert config["sources"]["containers"]["start_at"] == "end"
    assert [sink["framing"] for sink in config["sinks"].values()] == ["octet-counted"] * 2
    assert any('tag="k"' in note for note in draft.notes)
    assert [why for _, _, why in draft.problems] == [
        'input imfile readmode="2": not carried over; see multiline, start_at and max_line']
    load_text(draft.yaml(), "c.yaml", {})


def test_container_logs_without_their_template_had_another_header_which_is_said():
    draft = convert('input(type="imfile" file="/var/log/containers/*.log")\n*.* @@a:1;RSYSLOG_SyslogProtocol23Format\n', "r.conf")
    assert any("template RSYSLOG_SyslogProtocol23Format: rsyslog sent its own header" in why for _, _, why in draft.problems)


def test_what_is_no_rsyslog_config_is_refused(tmp_path: Path, capsys):
    path = tmp_path / "f"
    path.write_text("hello\n")
    assert main(["convert", "rsyslog", str(path)]) == 2
    assert "nothing in it reads a file (imfile) or forwards (omfwd)" in capsys.readouterr().err
    assert main(["convert", "rsyslog", str(tmp_path / "no")]) == 2
