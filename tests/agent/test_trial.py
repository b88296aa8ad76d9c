"""`shipper test`: what lines become, and the expectations of a config."""
import pytest

from shipper.agent.cli import main

POD = "/var/log/pods/shop_web-0_11111111-1111-4111-8111-111111111111/web/0.log"
CONFIG = """
node: node1
sources:
  containers: {type: containers, parse: auto, drop: [{severity: "<=DEBUG"}]}
  host: {type: files, include: [/var/log/syslog], format: syslog}
sinks:
  out: {type: stdout, format: ndjson}
  errors: {type: syslog, address: "127.0.0.1:5514", protocol: tcp, when: {severity: ">=ERROR"}}
"""
ERROR = '2026-11-20T09:04:05.1Z stdout F {"level":"error","msg":"broken","n":1}'


def shipper_test(tmp_path, capfd, tests="", *args):
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG + tests)
    code = main(["test", "-c", str(path), *args])
    return code, capfd.readouterr()


def test_each_step_and_each_sink_is_shown(tmp_path, capfd):
    code, shown = shipper_test(tmp_path, capfd, "", "--line", ERROR, "--line", '2026-11-20T09:04:06Z stdout F {"level":"debug"}',
                               "--as", POD)
    assert code == 0 and shown.err == ""
    lines = shown.out.splitlines()
    assert lines[0] == f"{POD}: source containers, format cri, shop/web-0/web"
    assert lines[lines.index("parse:") + 1] == '  0+47  2026-11-20T09:04:05.1Z ERROR broken {"n":1}'
    assert lines[lines.index("filter: 1 filtered") + 1] == "  47+30  dropped"
    assert "  0+47  out, errors" in lines
    assert any(line.startswith("  138 <11>1 2026-11-20T09:04:05.1Z node1 web") for line in lines)


def test_a_host_file_is_its_own_path(tmp_path, capfd):
    sample = tmp_path / "syslog"
    sample.write_bytes(b"Nov 20 09:04:05 node1 sshd[812]: Accepted \x1b[31m\n")
    code, shown = shipper_test(tmp_path, capfd, "", "--input", str(sample), "--as", "/var/log/syslog")
    assert code == 0 and '"ident":"sshd"' in shown.out and "\x1b" not in shown.out


def test_a_line_without_a_path_is_one_of_a_file_that_the_first_source_would_read(tmp_path, capfd):
    code, shown = shipper_test(tmp_path, capfd, "", "--line", ERROR)
    assert code == 0 and shown.err == ""
    assert shown.out.splitlines()[0] == (
        "/var/log/pods/default_web-0_00000000-0000-4000-8000-000000000000/web/0.log: source containers, format cri, "
        "default/web-0/web (made up: --as PATH names the file)")
    assert "broken" in shown.out


def test_expectations_that_hold_end_with_zero(tmp_path, capfd):
    code, shown = shipper_test(tmp_path, capfd, f"""
tests:
  - name: an error goes to both
    as: {POD}
    input: '{ERROR}'
    expect: [{{message: broken, severity: ERROR, fields: {{n: 1}}, kubernetes: {{namespace_name: shop}}}}]
    sinks: [out, errors]
  - {{name: debug is dropped, as: {POD}, input: ['2026-11-20T09:04:06Z stdout F {{"level":"debug"}}'], expect: []}}
""")
    assert (code, shown.out.splitlines()) == (0, ["ok     an error goes to both", "ok     debug is dropped", "2 of 2 tests hold"])


def test_a_mismatch_ends_with_one_and_says_where(tmp_path, capfd):
    code, shown = shipper_test(tmp_path, capfd, f"""
tests:
  - name: wrong
    as: {POD}
    input: '{ERROR}'
    expect: [{{message: fine, severity: ERROR, fields: {{n: 2, m: 1}}}}, {{message: more}}]
    sinks: [out]
""")
    assert code == 1
    assert shown.out.splitlines() == [
        "FAILED wrong",
        "       record 1: message: expected 'fine'", "       record 1:          got      'broken'",
        "       record 1: fields.n: expected 2", "       record 1:           got      1",
        "       record 1: fields.m: expected 1, is not there",
        "       record 2: expected, and there is none: {'message': 'more'}",
        "       0+47: expected for out, goes to out, errors",
        "0 of 1 tests hold",
    ]


@pytest.mark.parametrize(("args", "want"), [
    ((), "the config has no tests:"),
    (("--line", "x", "--as", "/nowhere/x"), "no source"),
    (("--input", "/nowhere/x"), "/nowhere/x: cannot be read"),
])
def test_wrong_usage_says_the_mend(tmp_path, capfd, args, want):
    code, shown = shipper_test(tmp_path, capfd, "", *args)
    assert code == 2 and want in shown.err
