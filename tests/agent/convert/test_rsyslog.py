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
        ("r.conf", 7, 'action omfwd streamdriver="gtls": tls only with streamdrivermode="1"; see tls in docs/sinks/syslog.md')]
    assert convert(LEGACY + "$Mystery on\nauth.info @10.0.0.1\n", "r.conf").problems == [
        ("r.conf", 9, "$Mystery on: not carried over; see docs/configuration.md whether a key does the same"),
        ("r.conf", 10, "auth.info: facilities and severities do not choose here; all is forwarded")]


def test_a_host_file_goes_as_rfc_5424():
    config = yaml.safe_load(convert('input(type="imfile" File="/var/log/app.log" Tag="a")\n*.* @logs.example.com\n',
                                    "r.conf").yaml())
    assert config["sources"]["files"] == {"type": "files", "include": ["/var/log/app.log"], "format": "plain"}
    assert config["sinks"]["rsyslog"] == {
        "type": "syslog", "address": "logs.example.com:514", "protocol": "udp", "format": "rfc5424", "facility": "local0",
        "severity": {"": "notice"}, "start_at": "oldest"}, "imfile's own facility and severity: the receiver's rules ask for them"


APP = 'input(type="imfile" File="/var/log/app.log" Tag="a:"{})\n'


def parts(text: str) -> tuple[dict, dict, list[str]]:
    draft = convert(text, "r.conf")
    config = yaml.safe_load(draft.yaml())
    load_text(draft.yaml(), "c.yaml", {})
    return config["sources"], config["sinks"], [why for _, _, why in draft.problems]


def test_the_form_that_most_have_is_carried_over():
    """`*.* action(...)` was "not known here": the receiver was gone."""
    _, sinks, problems = parts(APP.format("") + '*.* action(type="omfwd" target="h" port="6514" protocol="tcp"\n'
                               '    template="RSYSLOG_SyslogProtocol23Format" queue.type="LinkedList")\n')
    assert [sink["address"] for sink in sinks.values()] == ["h:6514"]
    assert problems == ['input imfile tag="a:": APP-NAME is the file\'s name here, app; see what asks for the tag']


def test_a_condition_in_front_of_a_forward_is_said_and_the_receiver_kept():
    _, sinks, problems = parts(
        APP.format("") + ':msg, contains, "foo" @@h:1\n*.warn;auth.none action(type="omfwd" target="i" port="2")\n')
    assert [sink["address"] for sink in sinks.values()] == ["h:1", "i:2"]
    assert [why for why in problems if "all is forwarded" in why] == [
        ':msg, contains, "foo": conditions do not choose here; all is forwarded',
        "*.warn;auth.none: facilities and severities do not choose here; all is forwarded"]


def test_a_files_facility_chooses_its_receiver():
    """The usual way to forward one file: all files went to it, and a message said so."""
    text = ("$InputFileName /var/log/scp.log\n$InputFileTag scp\n$InputFileFacility local3\n$InputRunFileMonitor\n"
            "$InputFileName /var/log/amf.log\n$InputFileTag amf:\n$InputFileFacility local4\n$InputRunFileMonitor\n"
            "local3.* @@h:1\nauth,authpriv.* @g:2\n*.* @@all:3\n")
    sources, sinks, problems = parts(text)
    assert [source["include"] for source in sources.values()] == [["/var/log/scp.log"], ["/var/log/amf.log"]]
    assert {sink["address"]: sink.get("when") for sink in sinks.values()} == {"h:1": {"source": ["files"]}, "all:3": None}
    assert problems == [
        "/var/log/amf.log: local4.notice, and now local3.notice: a sink has one facility; make a sink of its own for it, by "
        "when:", "no file that is read goes there; the receiver g:2 is left out"]


def test_a_forward_over_tls_is_no_plain_one():
    """Lines went in the clear to a port that speaks TLS."""
    text = APP.format("") + (
        'action(type="omfwd" target="h" port="6514" protocol="tcp" StreamDriver="gtls" StreamDriverMode="1" '
        'StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="*.h.example.com")\n')
    _, sinks, problems = parts(text)
    assert sinks["rsyslog"]["protocol"] == "tls" and len(problems) == 2
    assert "streamdriverpermittedpeers" in problems[1] and "server_name" in problems[1]
    assert yaml.safe_load(convert('global(defaultNetstreamDriverCAFile="/etc/ca.pem")\n' + text, "r.conf").yaml())[
        "sinks"]["rsyslog"]["tls"] == {"ca": "/etc/ca.pem"}
    legacy = "$DefaultNetstreamDriverCAFile /etc/ca.pem\n$ActionSendStreamDriverMode 1\n" + APP.format("") + "*.* @@h:6514\n"
    sink = yaml.safe_load(convert(legacy, "r.conf").yaml())["sinks"]["rsyslog"]
    assert (sink["protocol"], sink["tls"]) == ("tls", {"ca": "/etc/ca.pem"})


def test_what_goes_through_a_ruleset_of_its_own_reaches_its_receiver_alone():
    """All files went to all receivers, and a note said that `when` chooses."""
    other = 'input(type="imfile" File="/var/log/other.log" Tag="o" ruleset="fwd")\n'
    sources, sinks, problems = parts(
        APP.format("") + other + '*.* @@a:1\nruleset(name="fwd") { action(type="omfwd" target="b" port="2" protocol="tcp") }\n'
        'ruleset(name="net") { action(type="omfwd" target="c" port="3") }\n')
    assert {name: source["include"] for name, source in sources.items()} == {
        "files": ["/var/log/app.log"], "files-fwd": ["/var/log/other.log"]}
    assert {sink["address"]: sink["when"] for sink in sinks.values()} == {
        "a:1": {"source": ["files"]}, "b:2": {"source": ["files-fwd"]}}
    assert any("ruleset net" in why and "c:3" in why for why in problems)


def test_that_what_is_there_comes_again_is_said_where_the_file_is_named():
    yaml_text = convert(APP.format("") + "*.* @@a:1\n", "r.conf").yaml()
    assert "imfile's positions are not taken over: what is there comes again; start_at: end leaves it out" in yaml_text


def test_records_of_several_lines_stay_one():
    sources, _, problems = parts(APP.format(' startmsg.regex="^[0-9]{4}-"') + APP.format("").replace("app", "b") + "*.* @@a:1\n")
    assert [(source["include"], source.get("multiline")) for source in sources.values()] == [
        (["/var/log/app.log"], {"start": "^[0-9]{4}-"}), (["/var/log/b.log"], None)]
    assert not any("startmsg" in why for why in problems)


def test_facility_and_severity_go_along_and_what_cannot_is_said():
    local3 = ' Facility="local3" Severity="info"'
    _, sinks, problems = parts(APP.format(local3) + APP.format(local3).replace("app", "b") + "*.* @@a:1\n")
    assert (sinks["rsyslog"]["facility"], sinks["rsyslog"]["severity"]) == ("local3", {"": "info"})
    assert len([why for why in problems if "tag=" not in why]) == 0
    _, sinks, problems = parts(APP.format(local3) + APP.format("").replace("app", "b") + "*.* @@a:1\n")
    assert sinks["rsyslog"]["facility"] == "local3" and any("local0.notice" in why and "b.log" in why for why in problems)


@pytest.mark.parametrize(("line", "mend"), [
    ('module(load="imuxsock")', "type: journal"), ("$ModLoad imklog.so  # kernel", "type: kmsg"),
    ('module(load="imjournal" StateFile="imjournal.state")', "type: journal"),
])
def test_the_systems_own_messages_which_were_forwarded_too_are_said(line: str, mend: str):
    """"shipper needs no modules": the system's log would have ended without a word."""
    _, _, problems = parts(f"{line}\n{APP.format('')}*.* @@a:1\n")
    assert [mend in why for why in problems if "tag=" not in why] == [True]


def test_the_usual_local_files_of_a_host_are_nothing_to_look_at():
    usual = ("$FileOwner root\n$FileGroup adm\n$DirCreateMode 0755\nauth,authpriv.*\t\t/var/log/auth.log\n"
             "*.*;auth,authpriv.none\t-/var/log/syslog\n*.emerg\t:omusrmsg:*\ndaemon.*\t|/dev/xconsole\n& stop\n& ~\n")
    _, _, problems = parts(usual + APP.format("") + "*.* @@a:1\n")
    assert len(problems) == 1 and "tag=" in problems[0]


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


def test_the_files_that_debians_rsyslog_conf_includes_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """All that it does stands in them: "nothing in it reads a file", it said."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/10-app.conf").write_text(f"# mine\n{APP.format('')}")
    (tmp_path / "d/90-siem.conf").write_text("$Mystery on\n*.* @@h:1\n")
    main_file = tmp_path / "rsyslog.conf"
    for line in (f"$IncludeConfig {tmp_path}/d/*.conf", f'include(file="{tmp_path}/d/*.conf" mode="optional")'):
        main_file.write_text(f'module(load="imuxsock")\n{line}\n$Other x\n')
        assert main(["convert", "rsyslog", str(main_file)]) == 0
        out, err = capsys.readouterr()
        assert yaml.safe_load(out)["sinks"]["rsyslog"]["address"] == "h:1" and f"{tmp_path}/d/10-app.conf:2 imfile" in out
        assert [said.partition(": ")[0] for said in err.splitlines()[:-1]] == [
            f"{main_file}:1", f"{main_file}:3", f"{tmp_path}/d/10-app.conf:2", f"{tmp_path}/d/90-siem.conf:1"]
    main_file.write_text(f"$IncludeConfig {main_file}\n$IncludeConfig /nowhere/x.conf\n*.* @@h:1\n")
    assert main(["convert", "rsyslog", str(main_file)]) == 0
    assert "/nowhere/x.conf: not read, no such file is here" in capsys.readouterr().err


def test_each_receiver_of_a_ruleset_is_there():
    """A ruleset was one line: of two actions the last was taken, of two selectors none; and it had the name of an action."""
    text = ('input(type="imfile" File="/var/log/app.log" ruleset="fwd")\nruleset(name="fwd"\n'
            '        queue.type="LinkedList") {{\n  # both\n  {}\n\n  {}\n}}\n')
    two = [f'action(type="omfwd" name="to-{host}"\n         target="{host}" port="1" protocol="tcp")' for host in "ab"]
    for body in (two, [f"{two[0]} {two[1]}", ""], ["*.* @@a:1", "*.* @@b:1"], [f"*.* {two[0]}", f"& stop\n{two[1]}"],
                 ['if $msg contains "x" then stop', "*.* @@a:1\n*.* @@b:1"]):
        _, sinks, problems = parts(text.format(*body))
        assert [sink["address"] for sink in sinks.values()] == ["a:1", "b:1"] and not any("nothing" in why for why in problems)
    draft = convert(text.format("*.* @@a:1", "$Mystery on"), "r.conf")
    assert draft.problems[0][1] == 7


@pytest.mark.parametrize("text", [
    'ruleset(name="fwd")\n{\n  *.* @@a:1\n}\n',
    'ruleset(\n  name="fwd"\n)\n{\n  if $msg == "x" then\n  {\n    ~\n  }\n  *.* @@a:1\n}\n',
    "$RuleSet fwd\n*.* @@a:1\n$RuleSet RSYSLOG_DefaultRuleset\n",
])
def test_a_ruleset_may_begin_in_the_next_line_and_in_the_legacy_form(text: str):
    """Its receiver was left out."""
    _, sinks, _ = parts(APP.format("") + APP.format(' ruleset="fwd"').replace("app", "of-fwd") + text + "*.* @@all:1\n")
    assert {sink["address"]: sink["when"] for sink in sinks.values()} == {
        "a:1": {"source": ["files-fwd"]}, "all:1": {"source": ["files"]}}


def test_what_follows_a_then_in_the_next_line_is_its_own():
    _, sinks, problems = parts(APP.format("") + 'if $msg == "x" then\n  action(type="omfwd" target="a" port="1")\n')
    assert [sink["address"] for sink in sinks.values()] == ["a:1"]
    assert any("conditions are not carried over" in why for why in problems)


def test_a_ruleset_that_calls_another_gives_it_its_own_files_and_no_others():
    """The other one's receiver got the files of the default ruleset."""
    of_a = APP.format(' ruleset="a"').replace("app", "of-a")
    _, sinks, problems = parts(
        APP.format("") + of_a + '*.* @@all:1\nruleset(name="a") {\n  call b\n}\nruleset(name="b") {\n  call c\n}\n'
        'ruleset(name="c") {\n  *.* @@siem:1\n}\n')
    assert {sink["address"]: sink["when"] for sink in sinks.values()} == {
        "all:1": {"source": ["files"]}, "siem:1": {"source": ["files-a"]}}
    assert not any("nothing forwards" in why for why in problems)


@pytest.mark.parametrize("first", ["local3.* @@a:1", "local3.* /var/log/local3.log"])
def test_an_ampersand_means_the_selector_before(first: str):
    """The second receiver of a facility got all files."""
    local3, local4 = (APP.format(f' Facility="{name}"').replace("app", name) for name in ("local3", "local4"))
    sources, sinks, _ = parts(f"{local3}{local4}{first}\n& @@b:1\nlocal4.* @@c:1\n")
    of = {sink["address"]: sources[sink["when"]["source"][0]]["include"] for sink in sinks.values()}
    assert (of["b:1"], of["c:1"]) == (["/var/log/local3.log"], ["/var/log/local4.log"])


def test_startmsg_regex_of_container_logs_goes_along():
    """It was neither carried over nor said."""
    draft = convert('input(type="imfile" file="/var/log/containers/*.log" startmsg.regex="^[0-9]")\n*.* @@a:1\n', "r.conf")
    assert yaml.safe_load(draft.yaml())["sources"]["containers"]["multiline"] == {"start": "^[0-9]"}
    load_text(draft.yaml(), "c.yaml", {})


def test_facility_and_severity_may_be_numbers():
    _, sinks, _ = parts(APP.format(' Facility="16" Severity="6"') + "local0.* @@a:1\n")
    assert (sinks["rsyslog"]["facility"], sinks["rsyslog"]["severity"]) == ("local0", {"": "info"})


def test_what_is_no_rsyslog_config_is_refused(tmp_path: Path, capsys):
    path = tmp_path / "f"
    path.write_text("hello\n")
    assert main(["convert", "rsyslog", str(path)]) == 2
    assert "nothing in it reads a file (imfile) or forwards (omfwd)" in capsys.readouterr().err
    assert main(["convert", "rsyslog", str(tmp_path / "no")]) == 2
