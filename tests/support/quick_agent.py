"""An Agent whose processes are forked off one that has imported shipper, which saves each the 0.3 s of CPU of its imports.

Each is a process of its own, with its pid, environment, limits, standard streams and exit code (tests/proof/launcher.py).
Where a test puts something in front of the command (`prefix`), it is started by exec, as Agent does. That `python -m shipper`
starts by itself is shown by tests/agent/test_run_process.py, the packaging tests and the kills of tests/proof/test_crash.py.
"""
from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

from tests.proof.harness import Fleet
from tests.support.agent import Agent

COMMAND_S = 60.0


class QuickAgent(Agent):
    def __init__(self, root: Path, fleet: Fleet) -> None:
        super().__init__(root)
        self._fleet, self._numbers = fleet, itertools.count()

    def _spawn(self, argv: list[str], env: dict[str, str], open_files: int | None) -> subprocess.Popen[bytes]:
        if self.prefix:
            return super()._spawn(argv, env, open_files)
        return self._fleet.start(                                       # type: ignore[return-value]
            self.module, argv, self.log_path, env=env, open_files=open_files)

    def _run(self, argv: list[str], stdin: bytes, env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        given, out, errors = (self.root / f"command.{next(self._numbers)}.{name}" for name in ("in", "out", "err"))
        given.write_bytes(stdin)
        process = self._fleet.start("shipper", argv, errors, stdin=str(given), stdout=str(out), env=env)
        try:
            code = process.wait(COMMAND_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(["shipper", *argv], code, out.read_bytes(), errors.read_bytes())

    def close(self) -> None:
        super().close()
        for path in self.root.glob("command.*"):
            os.unlink(path)
