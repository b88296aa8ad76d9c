"""The decode and process stages as the tail stage asks for them (tail.ports.Formats). The seam. Plane: per file."""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from .. import decode
from ..config.matching import Predicate, compile_when
from ..config.processing import Processing as Wanted
from ..config.processing import ProcessRule, merged
from ..config.types import Config, SourceSettings
from ..model import Source
from ..process.build import joiner_for, steps_for
from ..process.chain import Processing
from ..process.limits import Limits
from ..tail.cutter import LineDecoder
from ..tail.ports import Settings
from ..telemetry import Telemetry


class DecodeFormats:
    """See tail.ports.Formats."""

    def __init__(self, telemetry: Telemetry | None = None) -> None:
        self._telemetry = telemetry
        self._told: set[str] = set()

    def taken_as_plain(self, line: bytes, source: str) -> None:
        """Once for each source: a log of containers as a host's file is the first thing that many try."""
        if self._telemetry is None or source in self._told:
            return
        form = decode.sniff(line)
        if not decode.first_ns(line, form):              # `raw`, or something that only begins like docker's
            return
        self._told.add(source)
        self._telemetry.say(
            "warning", "looks_like_container_logs", about=f"source {source}",
            why=f"its lines are {_FORM_NAMES[form]}, and are shipped as they stand, with time and stream in the message; write "
                f"`type: containers` (with pods and labels), or `format: {form}` in this source, or `format: raw` where that is "
                "what you want")

    def sniff(self, line: bytes) -> str:
        return decode.sniff(line)

    def first_ns(self, line: bytes, form: str) -> int:
        return decode.first_ns(line, form)


_FORM_NAMES = {"cri": "container logs in the CRI's format", "docker": "docker's container logs (json-file)"}

PARSERS_OF_FORMATS: dict[str, Wanted] = {
    "syslog": Wanted(parse="syslog"), "klog": Wanted(parse="klog"), "json": Wanted(parse="json"),
    "docker-daemon": Wanted(parse="logfmt"),
}
"""Formats of host files that are a plain line and a parser (config.rules_process.PARSED_FORMATS)."""


class Rules:
    """`process:` of one config, compiled once."""

    def __init__(self, rules: Sequence[ProcessRule]) -> None:
        self._rules: list[tuple[Predicate, ProcessRule]] = [(compile_when(rule.when), rule) for rule in rules]

    def wanted(self, own: SourceSettings, source: Source, asked: Wanted | None = None) -> Wanted | None:
        """What is to be done to the records of `source`; None for nothing. Asked once per lineage and config, and where
        something else is known of its pod. `asked`: by the pod itself; not of lines that are taken as they stand."""
        layers: list[Wanted] = [own, *(rule for matches, rule in self._rules if matches(source))]
        if asked is not None and own.format != "raw":
            layers.append(asked)
        if own.format in PARSERS_OF_FORMATS:
            layers.insert(0, PARSERS_OF_FORMATS[own.format])
        return merged(layers)


def keep_redaction_secrets(config: Config, telemetry: Telemetry) -> None:
    """What keys the hashes stands in no log, status or error (P9), wherever it comes from. A file that cannot be read now is
    said by `check`, and where it is used."""
    for layer in (*config.sources.values(), *config.process):
        path = getattr(layer, "redact_secret_file", None)
        if path is not None:
            from ..process.redact_rules import read_secret

            with contextlib.suppress(OSError):
                telemetry.keep_secret(read_secret(path).decode("utf-8", "replace"))


def line_form(own: SourceSettings) -> str:
    """The format as the tail and decode stages know it."""
    return "plain" if own.format in PARSERS_OF_FORMATS else own.format


def decoder_for(
    budget: decode.Budget, telemetry: Telemetry | None = None, limits: Limits | None = None
) -> Callable[[Source, Settings], LineDecoder]:
    """Makes the decoder of one lineage; all share one budget for open records, and the buckets of `limits`."""
    buckets = Limits() if limits is None else limits


    def make(source: Source, settings: Settings) -> LineDecoder:
        form = "raw" if settings.form in ("auto", "plain") else settings.form

        def bare() -> decode.Decoder:
            return decode.Decoder(source, form, max_line=settings.max_line, max_record=settings.max_record, budget=budget)

        decoder = bare()
        if settings.processing is None:
            return decoder
        steps = steps_for(settings.processing, source, buckets)
        joiner = joiner_for(
            settings.processing, source, budget=budget, line_reader=bare, patience_s=settings.partial_timeout_s)
        if joiner is not None:
            decoder.finished = joiner.finished
        if not steps and joiner is None:
            return decoder
        return Processing(decoder, steps, joiner, _counting(telemetry, source.name) if telemetry is not None else None)

    return make


def _counting(telemetry: Telemetry, source_name: str) -> Callable[[int], None]:
    return lambda records: telemetry.count("shipper_unparsed_records_total", records, source_name)
