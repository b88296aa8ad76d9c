"""fluentd's <buffer>, one for each output, as what our one buffer and the sink have of it. Pure.

    total_limit_size ─► buffer.max_size     overflow_action ─► when_full     retry_timeout ─► give_up_after     the rest: noted
"""
from __future__ import annotations

import re

from .draft import Draft, Item
from .fluentd_values import size
from .syntax import Element, assumed

_NOTES = {
    "@type": "always on disk, in state_dir", "type": "always on disk, in state_dir",
    "buffer_type": "always on disk, in state_dir",
    "buffer_path": "in state_dir", "path": "in state_dir", "flush_interval": "requests leave at once, or when `linger` is over",
    "buffer_chunk_limit": "the sink keeps the receiver's limits", "chunk_limit_size": "the sink keeps the receiver's limits",
    "buffer_queue_limit": "one buffer for all sinks: buffer.max_size", "queue_limit_length": "one buffer: buffer.max_size",
    "queued_chunks_limit_size": "one buffer: buffer.max_size", "chunk_limit_records": "the sink keeps the receiver's limits",
    "retry_wait": "0.5 s to 60 s, with jitter", "max_retry_wait": "at most 60 s", "retry_max_interval": "at most 60 s",
    "retry_type": "exponential", "retry_exponential_backoff_base": "2", "disable_retry_limit": "for ever, unless give_up_after "
                                                                                               "is set",
    "retry_forever": "for ever, unless give_up_after is set", "flush_mode": "requests leave when they are full or `linger` is "
                                                                            "over",
    "flush_at_shutdown": "up to shutdown_grace; the rest stays on disk", "slow_flush_log_threshold": "see /status",
    "flush_thread_interval": "not needed", "flush_thread_burst_interval": "not needed", "timekey": "see the sink's template",
    "timekey_wait": "see the sink's template", "timekey_use_utc": "times are UTC", "compress": "the buffer is not compressed",
    "retry_limit": "for ever, unless give_up_after is set", "delayed_commit_timeout": "not needed",
    "time_slice_format": "see the template",
}
_WHEN_FULL = {"block": "block", "drop_oldest_chunk": "drop_oldest", "throw_exception": "block", "exception": "block"}


def buffer(element: Element, item: Item, draft: Draft) -> None:
    """What a <match> or <store> says of its buffer, in it (fluentd before 1.0) or in <buffer>: keys of the sink, and of the one
    buffer that all sinks share, where the largest counts."""
    for where in [element, *(c for c in element.children if c.name == "buffer")]:
        if where is not element:
            if where.arg:
                draft.notes.append(f"{where.place} {where.title}: chunk keys; what varies stands in the sink's templates")
            where.type  # noqa: B018 - taken
        for key in ("overflow_action", "buffer_queue_full_action"):
            if action := assumed(where.take(key) or ""):
                item.set("when_full", _WHEN_FULL.get(action, "block"),
                         "" if action != "throw_exception" else "throw_exception lost records; here the logs wait")
        for key in ("flush_thread_count", "num_threads"):
            if (count := where.params.get(key)) is not None and assumed(count.value).isdigit():
                item.set("concurrency", int(assumed(where.take(key) or "") or 1), "requests at once")
        limit = where.take("total_limit_size")
        if limit and size(limit) is None:
            draft.problem(where, "is not a size that is known here; see buffer.max_size", "total_limit_size")
        if limit and (wanted := size(limit)):
            draft.buffer.setdefault("max_size", wanted)
            if _bytes(wanted) > _bytes(draft.buffer["max_size"]):
                draft.buffer["max_size"] = wanted
        if timeout := assumed(where.take("retry_timeout") or ""):
            item.set("give_up_after", f"{timeout}s" if timeout.isdigit() else timeout, "then records go to the dead letters")
        if where.params.get("retry_max_times"):
            draft.problem(where, "tries are not counted; write give_up_after: DURATION, or leave it: requests are tried for ever",
                          "retry_max_times")
        for key, why in _NOTES.items():
            if where is not element or key not in ("path", "@type", "type", "compress"):
                draft.note(where, key, why)
        where.taken.add("")


def _bytes(text: str) -> int:
    number, unit = re.match(r"(\d+)(\w+)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}[unit]
