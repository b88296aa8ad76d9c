"""shipper: a log shipping agent that a node can trust.

    discover ──► tail ──► decode ──► process ──► buffer ══► deliver ──► sinks
    which files  bytes    columns    join, parse, frames    window,     syslog file http
    which order  ranges   ids        redact, drop on disk   retry, dead letters    gcs bigquery ...

Left of the buffer runs once per record, right of it once per record and sink. Only `agent/` knows all stages; the
others know `model`, `errors`, `config`, `telemetry`.

Glossary: source (one log file's constants), lineage (one container's log across rotations), position (how far a file is
read), batch (records as columns), section (a batch and its file range), frame (sections on disk), segment (a file of
frames), cursor (how far one sink is confirmed), backlog, lag, dead letter, gap.
"""

__version__ = "0.1.0"
