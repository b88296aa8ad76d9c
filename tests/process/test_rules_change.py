"""A reload that changes `multiline`, crashes and time-outs in any order: every byte of the log is in one record (P11)."""
from __future__ import annotations

import random

import pytest

from shipper.config.process_multiline import MultilinePattern
from shipper.decode import Budget

from .multiline_kit import Log, cri, made, rows

RULES: list[str | MultilinePattern] = [
    "auto", "off", MultilinePattern(start=r"^\d"), MultilinePattern(continue_=r"^\s"),
]
LINES = [
    b"2026 begins", b"  goes on", b"Traceback (most recent call last):", b'  File "a.py", line 1, in <module>', b"    f()",
    b"ValueError: no", b"java.lang.IllegalStateException: x", b"\tat a.b.C.d(C.java:1)", b"Caused by: java.lang.Error: y",
    b"\t... 12 more", b"panic: boom", b"", b"goroutine 1 [running]:", b"main.main()", b"\t/a/main.go:3 +0x1d", b"ordinary",
]


def a_log(rnd: random.Random) -> bytes:
    out = []
    for _ in range(rnd.randint(5, 60)):
        line, stream = rnd.choice(LINES), rnd.choice([b"stdout", b"stdout", b"stderr"])
        if rnd.random() < 0.15:
            out += [cri(line[:3], stream, b"P"), cri(line[3:], stream)]
        else:
            out.append(cri(line, stream))
    return b"".join(out)


@pytest.mark.parametrize("seed", range(150))
def test_whatever_changes_in_whatever_order_every_byte_is_in_one_record(seed: int) -> None:
    rnd = random.Random(seed)
    log = Log(a_log(rnd))
    budget = Budget(rnd.choice([0, 100, 1 << 20]))
    now_s = 0.0
    rules = rnd.choice(RULES)
    log.decoder = made(multiline=rules, budget=budget)
    end = len(log.files[log.key])
    while True:
        now_s += rnd.choice([0.0, 0.5, 3.0])
        what = rnd.random()
        if what < 0.55:
            log.read(min(end, log.at + rnd.randint(1, 400)), now_s)
        elif what < 0.8:                                  # a crash, or a reload with other rules
            rules = rnd.choice([rules, rnd.choice(RULES)])
            state = log.decoder.state()
            budget.held_bytes = 0
            log.decoder = made(multiline=rules, budget=budget)
            log.decoder.restore(state, now_s)
        elif log.decoder.oldest_open_s() is not None:
            for key, batch in log.decoder.flush(before_s=now_s - 2.0, read_ns=1, reread=log.reread):
                assert key == log.key
                log.found += rows(batch)
        if log.at == end:
            break
    for _, batch in log.decoder.flush(before_s=now_s + 1000.0, read_ns=1, reread=log.reread):
        log.found += rows(batch)
    assert log.decoder.state() == () and log.decoder.oldest_open_s() is None
    assert sum(int(row.item.partition(b"+")[2], 16) for row in log.found) == end
    assert len({row.item for row in log.found}) == len(log.found)
    lines = b"".join(line.split(b" ", 3)[3] for line in log.files[log.key].splitlines())
    assert sorted(b"".join(row.message for row in log.found).replace(b"\n", b"")) == sorted(lines)
    assert budget.held_bytes == 0
