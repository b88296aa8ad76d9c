"""The config of an agent that gets no file: a handful of environment variables around fixed YAML (docs/configuration.md).

Invariants:
  E1  it is YAML like any other: the same checks, the same messages, the same `check`
  E2  only where no -c was given and SHIPPER_SINK_ADDRESS is set: a forgotten -c stays an error
Plane: pure.
"""
from __future__ import annotations

import json
import re
from collections.abc import Mapping

from ..errors import Usage
from .patterns import static_prefix

NAME = "(environment)"
"""Stands for this config where a path stands for a file, and in front of its messages."""

NEEDED = "SHIPPER_SINK_ADDRESS"
FILES = "SHIPPER_FILES"
CONTAINERS = "SHIPPER_CONTAINERS"

_TEXT = """\
node: ${NODE_NAME:-}
state_dir: ${SHIPPER_STATE_DIR:-/var/lib/shipper}
sources:
  containers:
    type: containers
    include: ["${SHIPPER_CONTAINERS:-/var/log/containers/*.log}"]
"""
_ROOTS_TEXT = """\
    allowed_roots: [/var/log/pods, /var/lib/docker/containers, {}]
"""
_FILES_TEXT = """\
  files:
    type: files
    include: ["${SHIPPER_FILES}"]
"""
_LISTEN = "${SHIPPER_ADMIN_LISTEN:-127.0.0.1:3903}"
_REST = """\
buffer:
  max_size: ${SHIPPER_BUFFER_SIZE:-1GiB}
sinks:
  central:
    type: syslog
    address: ${SHIPPER_SINK_ADDRESS}
    protocol: ${SHIPPER_SINK_PROTOCOL:-tls}
    format: ${SHIPPER_SINK_FORMAT:-rfc5424}
    when_full: ${SHIPPER_SINK_WHEN_FULL:-block}
    start_at: oldest
admin:
  listen: ${SHIPPER_ADMIN_LISTEN:-127.0.0.1:3903}
log:
  level: ${SHIPPER_LOG_LEVEL:-info}
"""

VARIABLES = frozenset(re.findall(r"\$\{(\w+)", _TEXT + _FILES_TEXT + _REST))
"""All that this config reads."""


def built_in(environ: Mapping[str, str]) -> str:
    """The YAML; host files only where SHIPPER_FILES names some. The directory that SHIPPER_CONTAINERS names may be read."""
    named = environ.get(CONTAINERS, "")
    root = json.dumps(static_prefix(named).replace("${", "$${")) if named.startswith("/") else ""
    rest = _REST.replace(_LISTEN, "null") if environ.get("SHIPPER_ADMIN_LISTEN") == "null" else _REST
    return _TEXT + (_ROOTS_TEXT.format(root) if root else "") + (_FILES_TEXT if environ.get(FILES) else "") + rest


def path_or_built_in(path: str | None, environ: Mapping[str, str]) -> str | None:
    """`path`; without one NAME if the environment is enough, else None (E2)."""
    return NAME if path is None and environ.get(NEEDED) else path


def needed_config(path: str | None, environ: Mapping[str, str], command: str) -> str:
    """As path_or_built_in; Usage with the mend where there is none. `command`: as it is written, `shipper explain`."""
    found = path_or_built_in(path, environ)
    if found is None:
        raise Usage(f"no config named; write {command} -c FILE, or set {NEEDED}=host:port (docs/configuration.md)")
    return found
