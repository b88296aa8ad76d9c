"""Google BigQuery: rows into an automatic schema or a table of one's own. See docs/sinks/bigquery.md.

    method: insert_all      _bigquery_insert_all.py: over REST, an answer per row
    method: storage_write   _bigquery_write.py: exactly once, over gRPC
    both                    _bigquery_config.py (keys), _bigquery_table.py (the table: look, create, columns)
"""
from __future__ import annotations

from . import Sink, SinkContext, SinkSpec
from ._bigquery_config import BigqueryConfig, config_problems, guarantee, writes
from ._gcp_config import warnings as gcp_warnings


def build(config: BigqueryConfig, context: SinkContext) -> Sink:
    """The sink of the config's method."""
    if writes(config):
        from ._bigquery_write_target import build_write_sink

        return build_write_sink(config, context)
    from ._bigquery_insert_all import InsertAllSink

    return InsertAllSink(config, context)


SINK = SinkSpec(
    summary="Google BigQuery, exactly once (Storage Write API) or by insertAll; an automatic schema or a table of one's own.",
    config=BigqueryConfig,
    build=build,
    check=config_problems,
    warn=lambda config: gcp_warnings(config, "bigquery"),
    guarantee=guarantee,
    request_bytes=512 * 1024,
    confirms_later=writes,
    request_records=500,
    later_records=10_000,
)
