"""Exactly once, whatever stops us wherever: real files, seeded random actions, a stop at any step of the file system."""
import os
import random
import shutil

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
    check(tmp_path, range(100), power)


@pytest.mark.long
@pytest.mark.timeout(900)                                # 10,000 plays: two minutes where nothing else runs
@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
def test_after_any_of_many_crashes_each_record_is_there_exactly_once(tmp_path, power):
    check(tmp_path, range(100, 10_000), power)


def check(tmp_path, seeds, power):
    for seed in seeds:
        directory = tmp_path / str(seed)
        world = play(str(directory), seed, power=power)
        assert world.content() == world.expected(), f"seed {seed}"
        assert not world.notices, f"seed {seed}: {world.notices}"
        shutil.rmtree(directory)


def test_a_compression_that_stopped_anywhere_is_finished_at_the_next_start_however_many_states_came_since(tmp_path):
    for step in range(12):
        directory = str(tmp_path / str(step))
        requests = requests_for(f"{directory}/out", 12, random.Random(step), paths=1)
        world = World(directory, requests, rules=Rules(max_size_bytes=1, compress=True))
        world.send()
        for _ in range(3):
            world.sync()
            world.passed = world.passed[-1:]
            world.engine.durable(world.passed[0][1])            # renamed; compressing stops before its end
            world.disk.steps_left = step
            try:
                world.background()
            except Crash:
                pass
            world.disk.steps_left = None
            world.jobs.clear()
            world.send()
        world.crash()
        world.start()
        world.finish()
        assert world.content() == world.expected()
        assert all(name.endswith(".gz") for name in os.listdir(f"{directory}/out/ns0")), os.listdir(f"{directory}/out/ns0")


def test_an_unreadable_journal_line_is_passed_over_and_the_next_one_counts(tmp_path):
    world = World(str(tmp_path), requests_for(f"{tmp_path}/out", 4, random.Random(1), paths=1))
    world.disk.fail = {"append": OSError(28, "No space left on device")}
    with pytest.raises(OSError, match="No space"):
        world.send()
    world.disk.fail = {}
    world.send()
    world.crash()
    world.start()
    world.finish()
    assert world.content() == world.expected()


def test_a_new_output_that_got_the_inode_of_a_compressed_one_is_not_taken_for_it_after_a_crash(tmp_path):
    """It was made and nothing was written to it yet: "confirmed bytes are gone", and the next crash left records twice."""
    requests = requests_for(f"{tmp_path}/out", 6, random.Random(1), paths=1)
    world = World(str(tmp_path), requests, rules=Rules(max_size_bytes=1, compress=True))
    path = requests[0][0][0]
    world.send()
    world.sync()
    world.passed = world.passed[-1:]
    inode = os.stat(path).st_ino
    world.engine.durable(world.passed[0][1])                    # renamed
    world.background()                                          # compressed, its inode is free
    world.crash()
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o640))    # as far as the next write came
    again, look, look_at = os.stat(path).st_ino, world.disk.look, world.disk.look_at

    def given_again(seen):
        return seen and seen._replace(inode={again: inode, inode: -1}.get(seen.inode, seen.inode) if again != inode else inode)

    world.disk.look = lambda found: given_again(look(found))
    world.disk.look_at = lambda descriptor: given_again(look_at(descriptor))
    world.start()
    assert not world.notices
    survivor = world.passed[:]
    for _ in range(3):
        world.send()
    world.crash()
    world.passed = survivor
    world.start()
    world.disk.look, world.disk.look_at = look, look_at
    assert os.path.getsize(path) == 0, "what comes again is not there yet"
