"""A process that has imported shipper and forks agents, so that a kill costs 0.2 s instead of 1.5 s of imports.

Each agent is a process of its own: its own pid, state, lock, threads and loop, made by fork before any of them exist;
`main(argv)` then runs as `python -m shipper argv` does. tests/proof/test_crash.py also kills agents started by exec.

    stdin    a JSON line per start: {"argv": [...], "log": path, "clock": path or null, "module": "shipper" | "simulator" | ...}
             and, where wanted: "stdin" and "stdout" (paths), "env" (all of it), "open_files" (a limit)
    stdout   {"started": pid} and {"ended": pid, "code": n} (as Popen.returncode)

The wall clock of a child is the machine's plus the seconds in its `clock` file (8 bytes, a double, may change while it
runs): `time.time` and `time.time_ns` are replaced before anything of shipper is imported. Driver.
"""
from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import resource
import runpy
import selectors
import signal
import struct
import sys
import time
import traceback
from typing import Any

_real_time, _real_time_ns = time.time, time.time_ns
_offset_s: mmap.mmap | None = None


def _shift_s() -> float:
    return 0.0 if _offset_s is None else float(struct.unpack("d", _offset_s[:8])[0])


def _time() -> float:
    return _real_time() + _shift_s()


def _time_ns() -> int:
    return _real_time_ns() + int(_shift_s() * 1e9)


def _preload() -> None:
    time.time, time.time_ns = _time, _time_ns
    import shipper.agent.app
    import shipper.agent.audit_command
    import shipper.agent.cli
    import shipper.agent.node_simulator
    import shipper.agent.run
    import shipper.agent.run_command
    import shipper.config.loader
    import shipper.sinks.file
    import shipper.sinks.syslog  # noqa: F401


def _child(order: dict[str, Any]) -> int:
    global _offset_s
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    random.seed()
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(order["stdin"], os.O_RDONLY) if order.get("stdin") else nothing, 0)
    os.dup2(log if order["module"] == "simulator" else _made(order["stdout"]) if order.get("stdout") else nothing, 1)
    os.dup2(log, 2)
    os.closerange(3, 256)
    if order["clock"]:
        fd = os.open(order["clock"], os.O_RDONLY | os.O_CLOEXEC)
        _offset_s = mmap.mmap(fd, 8, prot=mmap.PROT_READ)
    if order.get("env"):
        os.environ.clear()
        os.environ.update(order["env"])
    if order.get("open_files"):
        resource.setrlimit(resource.RLIMIT_NOFILE, (order["open_files"],) * 2)
    from shipper.process import patterns

    patterns.engine = lambda: os.environ.get("SHIPPER_TEST_ENGINE", "re")       # tests/conftest.py says why
    sys.argv = [order["module"], *order["argv"]]
    if order["module"] == "simulator":
        from shipper.agent.node_simulator import main as simulator

        return simulator(order["argv"])
    if order["module"] != "shipper":
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
        return 0
    from shipper.agent.cli import main

    return main(order["argv"])


def _made(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)


def _fork(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        code = _child(order)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:  # noqa: BLE001 as the interpreter does it
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _say(**what: int) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):        # no child is left
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            _say(ended=pid, code=os.waitstatus_to_exitcode(status))


def main() -> None:
    """Until standard input ends; then the children that are left are killed."""
    _preload()
    wake, wakeup = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    watch = selectors.DefaultSelector()
    watch.register(0, selectors.EVENT_READ)
    watch.register(wake, selectors.EVENT_READ)
    held = b""
    while True:
        ready = [key.fd for key, _ in watch.select()]
        if wake in ready:
            os.read(wake, 4096)
            _reap()
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return
            *orders, held = (held + data).split(b"\n")
            for order in orders:
                _say(started=_fork(json.loads(order)))


if __name__ == "__main__":
    main()
