"""`python -m tests.proof.fuzz.guided TARGET SECONDS`: atheris, guided by coverage, on one target of targets.py.

Exit 0 where nothing was found; a finding is written to crash-* in the working directory, as libFuzzer does.
"""
from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["shipper"]):
    from tests.proof.fuzz import targets


def main() -> None:
    name, seconds = sys.argv[1], sys.argv[2]
    target = getattr(targets, name)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(targets.SEEDS[target]()):
            (Path(corpus) / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=4096", "-rss_limit_mb=1024", "-timeout=10", corpus],
                      target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
