"""What runs beside the pipeline (SD1 to SD3 of agent/side_tasks.py)."""
from __future__ import annotations

import asyncio
from typing import Any

from shipper.agent.side_tasks import SideTasks
from shipper.telemetry import Telemetry


class Said:
    def __init__(self) -> None:
        self.telemetry, self.lines = Telemetry(write=self._write), []  # type: ignore[var-annotated]
        self.heard = asyncio.Event()

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.lines.append((level, event, fields["about"], fields["type"]))
        self.heard.set()


async def test_a_step_that_fails_is_said_and_taken_again_and_the_others_go_on() -> None:
    said, taken, others, enough = Said(), [], [], asyncio.Event()
    side = SideTasks(said.telemetry)

    def failing() -> None:
        taken.append(1)
        if len(taken) == 1:
            raise ZeroDivisionError("once")

    def well() -> None:
        others.append(1)
        if len(taken) > 1 and len(others) > 1:
            enough.set()

    side.every(0.001, "failing", failing)
    side.every(0.001, "well", well)
    await asyncio.wait_for(enough.wait(), 5)
    await side.close()
    assert said.lines == [("error", "unexpected_error", "failing", "ZeroDivisionError")]
    assert said.telemetry.value("shipper_errors_total", "failing") == 1


async def test_a_task_that_fails_is_said_at_once_and_not_when_the_agent_ends() -> None:
    said = Said()
    side = SideTasks(said.telemetry)

    async def reload_when_told() -> None:
        raise KeyError("gone")

    side.go_on("reload", reload_when_told)
    await asyncio.wait_for(said.heard.wait(), 5)
    assert said.lines == [("error", "unexpected_error", "reload", "KeyError")]
    assert said.telemetry.value("shipper_errors_total", "reload") == 1
    await side.close()


async def test_nothing_is_left_when_it_is_closed() -> None:
    before = asyncio.all_tasks()
    side = SideTasks(Telemetry())
    side.every(1000.0, "a", lambda: None)
    side.go_on("b", asyncio.Event().wait)  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await side.close()
    assert asyncio.all_tasks() == before
