"""The config's sources as discovery and the reader take them. Pure. Plane: per config, and per lineage."""
from __future__ import annotations

from ..config.processing import Processing
from ..config.types import Config, FilesSource, LogFiles
from ..discover.lineage import SourceSpec
from ..tail.ports import Settings
from .formats import line_form


def specs_of(config: Config) -> list[SourceSpec]:
    """What discovery looks for."""
    return [
        SourceSpec(
            name, source.type, tuple(source.include), tuple(source.exclude), tuple(source.allowed_roots), config.node, source
        )
        for name, source in config.sources.items() if isinstance(source, LogFiles)
    ]


def settings_of(name: str, source: LogFiles, allowed_roots: tuple[str, ...], processing: Processing | None) -> Settings:
    """How the reader treats the logs of source `name`. `processing`: what its rules and `process:` say for this lineage."""
    return Settings(
        name, line_form(source), source.start_at, source.max_line, source.max_record, source.partial_timeout, allowed_roots,
        isinstance(source, FilesSource), processing,
    )
