"""F1, held against configs of the shapes that are in the field: no directive goes in silence, and what comes out is accepted.

A line of the config was dropped in silence where the conversion says the same without it; unless it stands in a section that is
spoken of as a whole, or says what holds anyway.
"""
from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest
import yaml

from shipper.agent.cli import main
from shipper.agent.convert.fluentd import convert
from shipper.config.loader import load_text
from shipper.errors import Usage
from tests.tail.conftest import Tree, cri

FIELD = Path(__file__).with_name("field")
CONFIGS = sorted(path.name for path in FIELD.iterdir())
ODD = ["", "[", "{", "{}", "[]", "[1]", '{"a":1}', '{"a":[1]}', "-1", "9" * 30, "\0", "'", '"', "%", "${", "${a", "#{", "null",
       "[{}]", "#{ENV['X'] || use_default}", "a:b,c", "/(/", "/(?<a>/", "*", '[{"_SYSTEMD_UNIT":["a"]}]', "key value", "true"]
HOLDS_ANYWAY = {"hec_port 8088", "port 24224", "logstash_dateformat", "ssl_verify"}


def said(text: str, name: str) -> tuple[str, list[str]]:
    draft = convert({name: text}, name)
    return draft.yaml(), [f"{file}:{line}: {why}" for file, line, why in draft.problems]


def sections(lines: list[str]) -> list[list[int]]:
    """Of each line the numbers of the lines that open the sections it is in, its own included."""
    open_, found = [], []
    for number, line in enumerate(map(str.strip, lines), 1):
        if line.startswith("</"):
            found.append(list(open_))
            open_.pop()
            continue
        if line.startswith("<"):
            open_.append(number)
        found.append(list(open_))
    return found


def spoken_of(name: str, number: int, out: str, problems: list[str]) -> bool:
    """As a whole: by a note or message that begins with the section's title."""
    return f"{name}:{number} <" in out or any(p.startswith(f"{name}:{number}: <") for p in problems)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_line_is_dropped_in_silence(name: str):
    text = (FIELD / name).read_text()
    out, problems = said(text, name)
    lines = text.splitlines()
    silent = []
    for at, (line, around) in enumerate(zip(lines, sections(lines))):
        word = line.strip()
        if not word or word[0] in "#<" or word in HOLDS_ANYWAY or word.split()[0] in HOLDS_ANYWAY:
            continue
        if any(spoken_of(name, number, out, problems) for number in around):
            continue
        if said("\n".join([*lines[:at], "#", *lines[at + 1:]]), name) == (out, problems):
            silent.append(f"{at + 1}: {word}")
    assert silent == []


@pytest.mark.parametrize("name", CONFIGS)
def test_a_directive_that_nobody_knows_is_said_in_whatever_section_it_stands(name: str):
    lines = (FIELD / name).read_text().splitlines()
    around = sections(lines)
    for at, line in enumerate(lines):
        if line.strip().startswith("<") and not line.strip().startswith("</"):
            out, problems = said("\n".join([*lines[:at + 1], "mystery 42", *lines[at + 1:]]), name)
            whole = any(spoken_of(name, number, out, problems) for number in around[at])
            assert whole or any(p.startswith(f"{name}:{at + 2}: mystery") for p in problems), line


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "operator-router.conf"])
def test_what_comes_out_is_accepted_but_for_files_that_are_not_here(name: str):
    out, _ = said((FIELD / name).read_text(), name)
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", out), "1")
    try:
        load_text(out, "c.yaml", environ)
    except Usage as error:
        left = [line for line in str(error).splitlines() if "cannot be read" not in line and "cannot read" not in line]
        assert left == []


def test_secrets_of_none_of_them_come_out():
    for name in CONFIGS:
        out, problems = said((FIELD / name).read_text(), name)
        for secret in ("s3cr3tvalue", "AKIAXXXSECRET", "SECRETJSON", "Bearer abc", "aaaa-bbbb", "Basic xxx", "user:pw"):
            assert secret not in out and not any(secret in p for p in problems), (name, secret)


def mutated(lines: list[str], values: list[str], rng: random.Random) -> str:
    for _ in range(rng.randint(1, 4)):
        at, what = rng.randrange(len(lines)), rng.random()
        key = lines[at].split(None, 1)[:1]
        if what < 0.6 and key and key[0][0] not in "<#":
            lines[at] = f"{key[0]} {rng.choice(ODD if rng.random() < 0.6 else values)}"
        elif what < 0.8:
            lines[at] = lines[at][:rng.randint(0, len(lines[at]))]
        else:
            lines.insert(at, rng.choice(lines))
    return "\n".join(lines)


def test_whatever_a_config_holds_it_is_converted_or_refused_and_what_comes_out_is_yaml():
    rng, texts = random.Random(7), [(FIELD / name).read_text() for name in CONFIGS]
    values = [line.split(None, 1)[1] for text in texts for line in text.splitlines() if len(line.split(None, 1)) == 2]
    done = 0
    for _ in range(700):
        try:
            out, _ = said(mutated(rng.choice(texts).splitlines(), values, rng), "f.conf")
        except Usage:
            continue
        assert isinstance(yaml.load(out, yaml.CSafeLoader), dict)
        done += 1
    assert done > 200


def test_values_of_the_environment_decide_by_their_defaults():
    """Each of these was missed: pods as host files without names, an index for all times, no filter reached."""
    out, problems = said((FIELD / "kubernetes-daemonset.conf").read_text(), "d.conf")
    config = yaml.safe_load(out)
    (pods,) = [s for s in config["sources"].values() if s["type"] == "containers"]
    assert pods["include"] == ["${FLUENT_CONTAINER_TAIL_PATH:-/var/log/containers/*.log}"] and pods["format"] == "auto"
    (sink,) = config["sinks"].values()
    assert sink["index"] == "${FLUENT_ELASTICSEARCH_LOGSTASH_PREFIX:-logstash}-{time:%Y.%m.%d}" and sink["concurrency"] == 8
    assert config["sources"]["cluster-autoscaler"]["format"] == "klog"
    assert any("where $FLUENT_CONTAINER_TAIL_EXCLUDE_PATH is set" in p for p in problems)
    assert not any("kubernetes_metadata" in p for p in problems)


def test_included_files_are_read_where_they_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/b.conf").write_text("<match app>\n  @type null\n</match>\n")
    (tmp_path / "conf.d/a.conf").write_text(
        "<source>\n  @type tail\n  path /a.log\n  tag app\n  @include ../parse.inc\n</source>\n")
    (tmp_path / "parse.inc").write_text("format json\n")
    main_file = tmp_path / "fluent.conf"
    main_file.write_text("@include conf.d/*.conf\n<match **>\n  @type stdout\n</match>\n@include http://x/y.conf\n")
    assert main(["convert", "fluentd", str(main_file)]) == 0
    out, err = capsys.readouterr()
    config = yaml.safe_load(out)
    assert config["sources"]["app"]["format"] == "json" and config["sinks"] == {}, "the null in front of <match **> takes them"
    assert "@include http://x/y.conf: not read" in err and "conf.d" not in err.replace(str(tmp_path), "")
    main_file.write_text("@include fluent.conf\n")
    assert main(["convert", "fluentd", str(main_file)]) == 2
    assert "does it include itself?" in capsys.readouterr().err


def test_the_daemonsets_config_ships_the_pods_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The whole agent, a file in place of Elasticsearch."""
    tree = Tree(tmp_path / "log")
    tree.write(cri("first half, ", tag="P"), cri("second half"), cri("to stderr", second=1, stream="stderr"))
    assert main(["convert", "fluentd", str(FIELD / "kubernetes-daemonset.conf")]) == 0
    config = yaml.safe_load(capsys.readouterr().out.replace("/var/log/", f"{tmp_path}/log/"))
    config["sources"] = {n: s for n, s in config["sources"].items() if s["type"] == "containers"}
    (pods,) = config["sources"].values()
    pods["allowed_roots"] = [os.path.realpath(tmp_path / "log")]
    config["sinks"] = {"out": {"type": "file", "path": f"{tmp_path}/out.ndjson", "start_at": "oldest"}}
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config | {"state_dir": f"{tmp_path}/state", "admin": {"listen": None}}))
    assert main(["check", "-c", str(path)]) == 0
    assert main(["run", "-c", str(path), "--once", "--timeout", "20s"]) == 0
    found = [yaml.safe_load(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert [(r["stream"], r["message"], r["kubernetes"]["pod_name"]) for r in found] == [
        ("stdout", "first half, second half", "web-0"), ("stderr", "to stderr", "web-0")]
