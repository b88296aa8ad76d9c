"""One configured source, as a scan asks it: which paths it includes, where it may lead to, what it has matched. Pure; the roots
are resolved when it is made.

Invariants:
  SO1  what a source includes, and does not exclude, is asked of the path that matched; where it may lead to of the resolved one
  SO2  a refusal says the mend: of a container's log that a source of host files leads to, the type that reads it
Plane: once per matched path, never per line.
"""
from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from shipper.discover.globs import Pattern, compile_pattern, excluder
from shipper.discover.lineage import LogFile, SourceSpec
from shipper.discover.names import clean
from shipper.discover.open import inside, resolve_roots
from shipper.discover.resolve import Resolved
from shipper.errors import FileRefused, RefusedReason
from shipper.model import Source

LONG_NAME_BYTES = 200


class Configured:
    """A SourceSpec, compiled. `matches`: path -> where it leads; None: excluded."""

    def __init__(self, spec: SourceSpec) -> None:
        self.spec = spec
        self.patterns: list[Pattern] = [compile_pattern(text) for text in spec.include]
        self.excluded: Callable[[str], bool] = excluder(spec.exclude)
        own = [pattern.base for pattern in self.patterns] if spec.kind == "files" else []
        self.roots = resolve_roots([*own, *spec.allowed_roots])
        self.matches: dict[str, Match | None] = {}

    def includes(self, path: str) -> bool:
        """SO1."""
        return any(pattern.matches(path) for pattern in self.patterns) and not self.excluded(path)

    def check_inside(self, path: str, resolved_path: str) -> None:
        """Raises FileRefused where `path` leads to a place outside the roots (scan.D4, SO2)."""
        if inside(resolved_path, self.roots):
            return
        of_a_container = self.spec.kind == "files" and ("/pods/" in resolved_path or resolved_path.endswith("-json.log"))
        mend = "that is a container's log, which a source of `type: containers` reads; or " if of_a_container else ""
        raise FileRefused(RefusedReason.OUTSIDE_ROOTS, f"{clean(path)} is not read: it leads to {clean(resolved_path)}, outside "
                          f"allowed_roots {', '.join(self.roots) or '(none)'}; {mend}add its directory there, if it may be read")

    def logfile(self, source: Source, path: str, directory: str, name: str) -> LogFile:
        """The lineage at `path`, as this source's."""
        return LogFile(source, path, directory, name, self.spec.name, self.spec.config, self.roots)


@dataclass(slots=True, eq=False)
class Match:
    """One matched path and the lineage it leads to; None where it leads to none (yet)."""

    configured: Configured
    path: str
    resolved: Resolved | None = None
    logfile: LogFile | None = None

    def can_change(self) -> bool:
        """Whether the link can lead elsewhere tomorrow. Kubelet's cannot, the container's id is in its name, unless
        that was cut off; reading 5,000 links again for each container that starts would cost 15 ms."""
        if self.resolved is None:
            return True
        is_link = len(self.resolved.hops) > 1
        return is_link and (self.configured.spec.kind == "files" or len(os.path.basename(self.path)) > LONG_NAME_BYTES)
