"""`python -m tests.flow.agent_small_appends`: the shipper command, whose appends to BigQuery are small and many."""
import sys

from shipper.agent.cli import main
from shipper.encode import bigquery_proto
from shipper.sinks import _bigquery_write_plans, _bigquery_write_range

bigquery_proto.PIECE_BYTES = 16 * 1024
_bigquery_write_range.BLOCK_BYTES = 32 * 1024
_bigquery_write_plans.RANGE_BYTES = 128 * 1024
_bigquery_write_plans.RANGE_S = 0.1

if __name__ == "__main__":
    sys.exit(main())
