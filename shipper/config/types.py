"""What a checked config is, as types. The keys of the YAML file are the field names here (docs/configuration.md).

    Config
      sources: name -> ContainersSource | FilesSource | JournalSource | KmsgSource (journal.py)
      buffer:  BufferSettings
      sinks:   name -> SinkEntry = SinkCommon + the Struct of the sink's own module
      process: rules of processing.py, in order; tests: what `shipper test` runs
      kubernetes: where the labels of pods come from (kubernetes.py)
      admin, log

Invariants:
  C1  every value here passed the loader: types, ranges and the rules across fields (rules.py); nothing is checked again
  C2  sizes are Bytes (int), durations are Seconds (float); a None means "no limit" or "off"
  C3  nothing here imports a sink: a sink's Struct is known only to its own module, named by `type:`
Plane: pure; shapes only.
"""
from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from .journal import JournalSource, KmsgSource
from .kubernetes import Kubernetes
from .processing import Processing, ProcessRule, TestCase
from .units import Bytes, Seconds

MIB = 1024 * 1024

StartAt = Literal["beginning", "end"]


class ContainersSource(Processing, kw_only=True, forbid_unknown_fields=True, frozen=True, tag_field="type", tag="containers"):
    """Container logs of this node. A link in `include` is followed, and its target must lie in `allowed_roots`.

    partial_timeout  a record whose end has not come by then is closed as `partial`, once the file is read to its end
    max_line         a longer line is cut there and marked `truncated`; max_record bounds a record of many pieces
    """

    type: ClassVar[str] = "containers"
    include: list[str] = msgspec.field(default_factory=lambda: ["/var/log/containers/*.log"])
    exclude: list[str] = msgspec.field(default_factory=list)
    format: Literal["auto", "cri", "docker", "raw"] = "auto"
    start_at: StartAt = "beginning"
    max_line: Bytes = Bytes(MIB)
    max_record: Bytes = Bytes(MIB)
    partial_timeout: Seconds = Seconds(2.0)
    allowed_roots: list[str] = msgspec.field(default_factory=lambda: ["/var/log/pods", "/var/lib/docker/containers"])


class FilesSource(Processing, kw_only=True, forbid_unknown_fields=True, frozen=True, tag_field="type", tag="files"):
    """Files of the host. `allowed_roots` is never empty after loading: by default the part of each include before its
    first wildcard (of a plain path, its directory)."""

    type: ClassVar[str] = "files"
    include: list[str]
    exclude: list[str] = msgspec.field(default_factory=list)
    format: Literal["plain", "syslog", "klog", "json", "docker-daemon", "raw", "cri", "docker"] = "plain"
    start_at: StartAt = "beginning"
    max_line: Bytes = Bytes(MIB)
    max_record: Bytes = Bytes(MIB)
    partial_timeout: Seconds = Seconds(2.0)
    allowed_roots: list[str] = msgspec.field(default_factory=list)


LogFiles = ContainersSource | FilesSource
SourceSettings = ContainersSource | FilesSource | JournalSource | KmsgSource


class BufferSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """The disk buffer. `max_size` counts segments, spools, dead letters and quarantine."""

    max_size: Bytes = Bytes(1024 * MIB)
    segment_size: Bytes = Bytes(16 * MIB)
    sync_interval: Seconds = Seconds(0.5)


class SinkCommon(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What every sink takes, whatever its type. In YAML these keys and the sink's own stand side by side.

    when                 {} or any of namespace, pod, container, source, kind: list of globs, labels, annotations:
                         {key: list of globs}, severity: [">=WARNING"]. Always lists after loading. All keys must match;
                         within a list, one
    max_backlog          this sink's own limit; behind it by more, its oldest records are dropped and counted
    previously           the name that this sink had before: its cursor is inherited
    give_up_after        None: a request is retried for ever
    max_request_*        None: what the sink's spec says
    linger               how long a request that is not full waits for more
    """

    when: dict[str, Any] = msgspec.field(default_factory=dict)
    when_full: Literal["block", "drop_oldest"] = "block"
    max_backlog: Bytes | None = None
    max_backlog_age: Seconds | None = None
    concurrency: int = 4
    start_at: Literal["end", "oldest"] = "end"
    previously: str | None = None
    give_up_after: Seconds | None = None
    max_request_bytes: Bytes | None = None
    max_request_records: int | None = None
    linger: Seconds = Seconds(0.0)


class SinkEntry(msgspec.Struct, kw_only=True, frozen=True):
    """One sink: `spec` is the SinkSpec of module `type` (sinks/__init__.py), `config` an instance of `spec.config`."""

    name: str
    type: str
    common: SinkCommon
    spec: Any
    config: Any


class Admin(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """`listen: null` switches the port off; the admin socket in state_dir stays."""

    listen: str | None = "127.0.0.1:3903"
    expose_status: bool = False


class Log(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """The agent's own log, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "json"


class Config(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """The whole config, checked (C1). `node` is never empty: the host name stands in."""

    node: str = ""
    state_dir: str = "/var/lib/shipper"
    sources: dict[str, SourceSettings]
    process: tuple[ProcessRule, ...] = ()
    kubernetes: Kubernetes = Kubernetes()
    buffer: BufferSettings = BufferSettings()
    sinks: dict[str, SinkEntry]
    admin: Admin = Admin()
    log: Log = Log()
    shutdown_grace: Seconds = Seconds(25.0)
    lock_wait: Seconds = Seconds(40.0)
    tests: tuple[TestCase, ...] = ()
