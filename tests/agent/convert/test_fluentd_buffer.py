"""fluentd's <buffer>, one for each output, in our one buffer."""
from __future__ import annotations

import pytest
import yaml

from shipper.agent.convert.fluentd import convert

SOURCE = "<source>\n  @type tail\n  path /var/log/app.log\n  tag app\n  read_from_head true\n  format none\n</source>\n"


def store(limit: str) -> str:
    return f"  <store>\n    @type stdout\n    <buffer>\n      total_limit_size {limit}\n    </buffer>\n  </store>\n"


@pytest.mark.parametrize(("limits", "kept"), [
    (("512m", "4g"), "4GiB"), (("4g", "512m"), "4GiB"), (("2048k", "1m"), "2048KiB"), (("1m", "1m"), "1MiB")])
def test_of_several_buffers_the_largest_is_the_size_of_the_one(limits: tuple[str, str], kept: str) -> None:
    draft = convert({"f.conf": f"{SOURCE}<match **>\n  @type copy\n{''.join(map(store, limits))}</match>\n"}, "f.conf")
    assert yaml.safe_load(draft.yaml())["buffer"] == {"max_size": kept}


def test_workers_are_said_and_what_is_inside_is_not_dropped_in_silence() -> None:
    draft = convert({"f.conf": f"<worker 0>\n{SOURCE}</worker>\n<match **>\n  @type stdout\n</match>\n"}, "f.conf")
    assert any("one process reads all; move what is inside out of <worker>" in why for _, _, why in draft.problems)
