"""Google BigQuery: rows into an automatic schema or a table of one's own. See docs/sinks/bigquery.md.

    method: insert_all      _bigquery_insert_all.py: over REST, an answer per row
    both                    _bigquery_config.py (keys), _bigquery_table.py (the table: look, create, columns)
"""
from __future__ import annotations

from . import Sink, SinkContext, SinkSpec
from ._bigquery_config import BigqueryConfig, config_problems, insert_all_guarantee
from ._gcp_config import warnings as gcp_warnings


def build(config: BigqueryConfig, context: SinkContext) -> Sink:
    """The sink of the config's method."""
    from ._bigquery_insert_all import InsertAllSink

    return InsertAllSink(config, context)


SINK = SinkSpec(
    summary="Google BigQuery (insertAll), into an automatic schema or a table of one's own.",
    config=BigqueryConfig,
    build=build,
    check=config_problems,
    warn=lambda config: gcp_warnings(config, "bigquery"),
    guarantee=insert_all_guarantee,
    request_bytes=1024 * 1024,
    request_records=500,
)
