"""`multiline:` in the config: what is taken, and what is refused with its mend."""
from __future__ import annotations

from pathlib import Path

import pytest

from shipper.agent.cli import main

CONFIG = """\
sources:
  c:
    type: containers
    multiline: %s
sinks: {s: {type: syslog, address: "127.0.0.1:514", protocol: tcp}}
process:
  - {when: {namespace: [x]}, multiline: off}
"""


def check(tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG % value + f"state_dir: {tmp_path}\n")
    code = main(["check", "-c", str(path)])
    return code, capsys.readouterr().err


@pytest.mark.parametrize("value", ["auto", "off", "{start: '^[0-9]{4}-'}", r"{continue: '^\s'}"])
def test_each_form_is_taken(tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, value, capsys)[0] == 0


@pytest.mark.parametrize(("value", "said"), [
    ("{start: 'a', continue: 'b'}", "sources.c.multiline: give either start: or continue:, one of the two"),
    ("{}", "sources.c.multiline: give either start: or continue:"),
    ("{start: '(a'}", "sources.c.multiline.start: "),
    ("{continue: '(?=a)'}", "sources.c.multiline.continue: "),
    ("{begin: 'a'}", "sources.c.multiline.begin: unknown key"),
    ("autp", "sources.c.multiline: "),
])
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, value: str, said: str, capsys: pytest.CaptureFixture[str],
) -> None:
    code, err = check(tmp_path, value, capsys)
    assert code == 2
    assert said in err and ":4:" in err
