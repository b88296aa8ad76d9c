"""`Agent` that can be made to break on command (broken_agent.py), and what /proc says of it."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shipper.agent.client import UnixConnection
from tests.support.agent import Agent
from tests.support.quick_agent import QuickAgent


class BrokenAgent(Agent):
    """`start(breaks=...)` names the function of broken_agent.py; `break_now` and `mend` switch it."""

    def __init__(self, root: Path, *more: Any) -> None:
        super().__init__(root, *more)
        self._switch = root / "broken"

    def start(
        self, *argv: str, breaks: str = "", health_pace: float = 1, env: Mapping[str, str] | None = None, **keys: Any,
    ) -> Agent:
        self.module = "tests.proof.broken_agent" if breaks or health_pace != 1 else "shipper"
        own = {"SHIPPER_BREAK": breaks, "SHIPPER_BREAK_FILE": str(self._switch), "SHIPPER_HEALTH_PACE": str(health_pace)}
        return super().start(*argv, env={**own, **(env or {})}, **keys)

    def break_now(self, how: str = "") -> None:
        self._switch.unlink(missing_ok=True)
        self._switch.write_text(how)

    def mend(self) -> None:
        self._switch.unlink(missing_ok=True)

    def healthz(self, timeout_s: float = 1.0) -> tuple[int, str]:
        """(status, text); (0, why) where it does not answer in time."""
        connection = UnixConnection(str(self.state), timeout_s)
        try:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (TimeoutError, OSError) as error:
            return 0, str(error)
        finally:
            connection.close()

    def memory_bytes(self, field: str = "VmHWM") -> int:
        """Of /proc/<pid>/status: VmHWM is the highest RSS so far, VmRSS that of now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {field}")

    def reset_peak(self) -> None:
        """VmHWM counts from now on."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def cpu_s(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


class QuickBrokenAgent(BrokenAgent, QuickAgent):
    """Forked. Not where memory is measured: it shares its parent's."""
