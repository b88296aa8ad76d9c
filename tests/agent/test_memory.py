"""Memory goes back to the kernel when the agent has none of it in use (shipper/agent/memory.py)."""
from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import gc
from shipper.agent import memory
gc.disable()
memory.tune_malloc()
memory.tune_collector()
assert gc.isenabled() and gc.get_threshold() == memory.GC_THRESHOLD
def rss_kib():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
held = [bytes(4000) for _ in range(20_000)]              # 80 MB from malloc's heap
kept = held[::1000]                                      # 20 of them keep the heap's top in place
del held
before = rss_kib()
memory.give_back()
print(before - rss_kib())
"""


def test_what_a_backlog_left_free_goes_back_to_the_kernel() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40_000, "KiB given back"
