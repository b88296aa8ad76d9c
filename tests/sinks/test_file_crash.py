"""Exactly once, whatever stops us wherever: real files, seeded random actions, a stop at any step of the file system."""
import random

import pytest

from shipper.sinks._file_rotate import Rules

from .file_world import Crash, World, requests_for

ROTATIONS = [Rules(), Rules(max_size_bytes=120), Rules(max_size_bytes=200, compress=True), Rules(max_age_s=5.0, compress=True)]


def play(directory, seed, *, power):
    """Random actions with crashes; at the end each record is there exactly once, in order."""
    rng = random.Random(seed)
    requests = requests_for(f"{directory}/out", 25, rng, paths=rng.choice([1, 3, 6]))
    world = World(directory, requests, seed, rules=rng.choice(ROTATIONS), max_open_files=rng.choice([1, 2, 64]))
    actions = [world.send] * 6 + [lambda: world.send(patient=False), world.sync, world.sync, world.durable, world.durable,
                                  world.rewind, world.cancel, world.reload, world.background]
    for _ in range(rng.randint(10, 60)):
        world.now_s += rng.random()
        if rng.random() < 0.15:
            world.disk.steps_left = rng.randint(0, 12)
        try:
            rng.choice(actions)()
        except Crash:
            while True:
                world.crash(power=power)
                world.disk.steps_left = rng.choice([None, rng.randint(0, 6)])
                try:
                    world.start()
                    break
                except Crash:
                    continue
    world.disk.steps_left = None
    world.finish()
    return world


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
def test_after_any_crash_each_record_is_there_exactly_once_and_in_order(tmp_path, power):
    for seed in range(250):
        directory = tmp_path / str(seed)
        world = play(str(directory), seed, power=power)
        assert world.content() == world.expected(), f"seed {seed}"
        assert not world.notices, f"seed {seed}: {world.notices}"
