"""What a config may say of journal and kmsg."""
from __future__ import annotations

from pathlib import Path

import pytest

from shipper.config.journal import JournalSource, KmsgSource
from shipper.config.loader import load
from shipper.errors import Usage


def loaded(tmp_path: Path, source: str, sink: str = "{type: file, path: /tmp/out.ndjson}") -> object:
    path = tmp_path / "c.yaml"
    path.write_text(f"state_dir: {tmp_path}/state\nsources:\n  j: {source}\nsinks:\n  out: {sink}\n")
    return load(str(path), {})


def test_a_journal_needs_no_key_and_takes_those_of_processing(tmp_path: Path) -> None:
    bare = loaded(tmp_path, "{type: journal}").config.sources["j"]  # type: ignore[attr-defined]
    assert isinstance(bare, JournalSource) and bare.directory is None and "_SYSTEMD_UNIT" in bare.fields
    full = loaded(tmp_path, "{type: journal, units: [a.service], identifiers: [b], priority: err, boot: current, directory: /j, "
                            "start_at: end, fields: [], max_line: 2KiB, parse: json, drop: [{severity: DEBUG}]}")
    assert full.config.sources["j"].parse == "json" and full.warnings == []  # type: ignore[attr-defined]


def test_a_severity_condition_needs_no_parse_where_a_journal_says_severities(tmp_path: Path) -> None:
    sink = '{type: file, path: /tmp/out.ndjson, when: {severity: ">=ERROR", kind: [journal]}}'
    found = loaded(tmp_path, "{type: journal}", sink)
    assert found.warnings == []  # type: ignore[attr-defined]


def test_kmsg_has_a_path(tmp_path: Path) -> None:
    found = loaded(tmp_path, "{type: kmsg}").config.sources["j"]  # type: ignore[attr-defined]
    assert isinstance(found, KmsgSource) and found.path == "/dev/kmsg"


@pytest.mark.parametrize("source, said", [
    ("{type: journal, multiline: auto}", "sources.j.multiline: an entry of the journal is whole"),
    ("{type: journal, directory: var/log}", "sources.j.directory: must be an absolute path"),
    ('{type: journal, units: [""]}', "sources.j.units[0]: is no name of a unit"),
    ("{type: journal, fields: [pid]}", "sources.j.fields[0]: is no field of the journal"),
    ("{type: journal, priority: warn}", "sources.j.priority: 'warn' is not one of"),
    ("{type: journal, include: [/var/log/x]}", "sources.j.include: unknown key"),
    ("{type: kmsg, path: kmsg}", "sources.j.path: must be an absolute path"),
])
def test_what_is_wrong_is_named_with_the_mend(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(Usage) as told:
        loaded(tmp_path, source)
    assert said in str(told.value)


def test_stdout_beside_the_hosts_whole_journal_is_a_loop_under_systemd_and_warned_of(tmp_path: Path) -> None:
    assert "a loop" in str(loaded(tmp_path, "{type: journal}", "{type: stdout}").warnings)  # type: ignore[attr-defined]
    assert loaded(tmp_path, "{type: journal, units: [ssh.service]}", "{type: stdout}").warnings == []  # type: ignore[attr-defined]
