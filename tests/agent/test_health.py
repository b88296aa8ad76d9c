"""H1 to H3: what counts as stuck, and what never does. Time is an argument; nothing sleeps."""
from __future__ import annotations

from dataclasses import replace

import pytest

from shipper.agent.health import SAMPLE_EVERY_S, Health, StageFacts

MOVABLE = StageFacts("reader", has_input=True, has_room=True, waits_outside=False, progress_counter=7)


def watched(states: list[StageFacts], *, beats: dict[str, float] | None = None) -> list[str]:
    """The problems after sampling one state every 5 s."""
    health, now_s = Health(), 0.0
    for name in beats or {}:
        health.beat(name, 0.0)
    for state in states:
        for name, last_s in (beats or {}).items():
            if now_s <= last_s:
                health.beat(name, now_s)
        health.sample([state], now_s)
        now_s += SAMPLE_EVERY_S
    return health.problems(now_s - SAMPLE_EVERY_S)


@pytest.mark.parametrize("stage", [
    replace(MOVABLE, name="discover"),
    replace(MOVABLE, name="reader"),
    replace(MOVABLE, name="reader", progress_counter=0),
    replace(MOVABLE, name="writer", stuck_after_s=30.0),
    replace(MOVABLE, name="sync"),
    replace(MOVABLE, name="retention"),
    replace(MOVABLE, name="sink central"),
    replace(MOVABLE, name="sink central", progress_counter=10**18),
], ids=lambda stage: f"{stage.name}-{stage.progress_counter}")
def test_a_stage_with_input_and_room_that_stands_still_is_stuck(stage: StageFacts) -> None:
    assert watched([stage] * 14) == [f"stage {stage.name} has input and room and has not moved for 65 s"]


@pytest.mark.parametrize("name", ["loop", "buffer writer"])
def test_a_thread_that_falls_silent_is_stuck(name: str) -> None:
    idle = replace(MOVABLE, has_input=False)
    assert watched([idle] * 9, beats={name: 5.0}) == [f"{name} silent for 35 s"]


@pytest.mark.parametrize("stage", [
    replace(MOVABLE, has_input=False),
    replace(MOVABLE, has_room=False),
    replace(MOVABLE, waits_outside=True),
    replace(MOVABLE, has_input=False, has_room=False),
    replace(MOVABLE, has_room=False, waits_outside=True),
], ids=["idle", "buffer_full_or_reading_blocked", "dead_sink_or_retry", "idle_and_full", "full_disk"])
def test_a_stage_that_has_a_reason_to_stand_still_is_healthy_for_ever(stage: StageFacts) -> None:
    assert watched([stage] * 1000) == []


def test_a_stage_that_moves_is_healthy() -> None:
    assert watched([replace(MOVABLE, progress_counter=n) for n in range(100)]) == []


def test_a_counter_that_goes_back_after_a_reload_is_movement() -> None:
    assert watched([MOVABLE] * 12 + [replace(MOVABLE, progress_counter=0)] * 12) == []


def test_just_before_the_limit_a_stage_is_healthy() -> None:
    assert watched([MOVABLE] * 13) == []                                    # 60 s


def test_a_wait_in_between_starts_the_clock_anew() -> None:
    assert watched([MOVABLE] * 12 + [replace(MOVABLE, waits_outside=True)] + [MOVABLE] * 12) == []


def test_a_stage_that_is_gone_is_forgotten() -> None:
    health = Health()
    for n in range(20):
        health.sample([MOVABLE], n * 5.0)
    health.sample([], 100.0)
    assert health.problems(100.0) == []


def test_a_stage_that_moves_again_is_healthy_again() -> None:
    assert watched([MOVABLE] * 20 + [replace(MOVABLE, progress_counter=8)]) == []


def test_a_process_that_was_stopped_for_an_hour_is_not_stuck() -> None:
    health = Health()
    health.beat("loop", 0.0)
    health.sample([MOVABLE], 0.0)
    health.sample([MOVABLE], 3600.0)                                        # H3: SIGSTOP, a suspended machine
    assert health.problems(3600.0) == []
    for n in range(1, 15):
        health.beat("loop", 3600.0 + n * 5.0)
        health.sample([MOVABLE], 3600.0 + n * 5.0)
    assert health.problems(3670.0) == ["stage reader has input and room and has not moved for 70 s"]
