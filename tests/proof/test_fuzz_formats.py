"""Every reader of bytes that others wrote, at every cut and every changed byte of its seeds, and over anything at all.

Not here, because it is elsewhere: config over any text (tests/config/test_fuzz.py), names (tests/discover/test_names.py).
"""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.proof.fuzz import targets
from tests.proof.harness_events import note

TARGETS = list(targets.SEEDS)
ids = [target.__name__ for target in TARGETS]
COSTLY = (targets.config, targets.gzip_file, targets.tail_and_decode)     # each 4th place is enough for the short suite
_STEP = {target: 3 if target in COSTLY else 1 for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS, ids=ids)
def test_it_holds_at_every_cut_of_the_input(target: Callable[[bytes], None]) -> None:
    for seed in targets.SEEDS[target]():
        for end in range(0, len(seed) + 1, _STEP[target]):
            target(seed[:end])
        target(seed)


@pytest.mark.parametrize("target", TARGETS, ids=ids)
def test_it_holds_with_any_byte_changed(target: Callable[[bytes], None]) -> None:
    for seed in targets.SEEDS[target]():
        for at in range(0, len(seed), _STEP[target]):
            for other in (seed[at] ^ 1, 0, 0xFF, ord("\n"), ord('"')):
                target(seed[:at] + bytes([other]) + seed[at + 1 :])


@pytest.mark.parametrize("target", TARGETS, ids=ids)
def test_it_holds_over_anything(target: Callable[[bytes], None]) -> None:
    seeds = targets.SEEDS[target]()
    words = [word for seed in seeds for word in (seed[:40], seed[-40:], *seed.split(b" ")[:8], *seed.split(b"\n")[:8])]
    words += [b"\n", b"\0", b"\r\n", b"\xef\xbb\xbf"]

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.one_of(st.sampled_from(words), st.binary(max_size=30)), max_size=12))
    def run(parts: list[bytes]) -> None:
        target(b"".join(parts))

    run()


def test_all_cuts_of_a_segment_give_a_prefix_of_its_frames() -> None:
    """G3."""
    data = targets.a_segment()
    whole = [frame.seq for frame in targets.framing.scan(data).frames]
    for end in range(len(data)):
        found = [frame.seq for frame in targets.framing.scan(data[:end]).frames]
        assert found == whole[: len(found)]


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("target", TARGETS, ids=ids)
def test_guided_by_coverage_nothing_is_found(target: Callable[[bytes], None], tmp_path: Path) -> None:
    """SHIPPER_FUZZ_S each (600). Needs the extra `fuzz` (atheris), which `make test-long` installs."""
    assert find_spec("atheris"), "atheris is not installed; run: pip install -e '.[fuzz]', or make test-long"
    seconds = os.environ.get("SHIPPER_FUZZ_S", "600")
    done = subprocess.run(
        [sys.executable, "-m", "tests.proof.fuzz.guided", target.__name__, seconds], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, cwd=tmp_path, check=False,
    )
    runs = [line for line in done.stderr.splitlines() if line.startswith("Done ")]
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    note(f"guided fuzzing of {target.__name__}", tries=int(runs[-1].split()[1]), lost=0, repeated=0, for_s=int(seconds))
