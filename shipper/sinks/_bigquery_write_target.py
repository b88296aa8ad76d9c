"""The table that the Storage Write API writes to, as its sink sees it: columns by REST, rows by protocol buffers. Driver."""
from __future__ import annotations

from ..encode import bigquery_proto
from ..encode.bigquery_own_proto import Layout
from ..errors import Retryable
from ..model import Batch
from ..telemetry import Telemetry
from . import SinkContext
from ._bigquery_config import BigqueryConfig, write_endpoint
from ._bigquery_table import Table
from ._bigquery_write import StorageWriteSink
from ._bigquery_write_channel import WriteChannel
from ._bigquery_write_plans import Payload
from ._gcp_auth import Anonymous, GcpCredentials, credentials
from ._gcp_config import http_config
from ._http_client import HttpClient


class WriteTarget:
    """See Target in _bigquery_write.py. aiohttp is imported when the table is first asked for: with `schema: auto` and
    without create_table that is never."""

    def __init__(self, config: BigqueryConfig, name: str, telemetry: Telemetry, who: GcpCredentials | Anonymous) -> None:
        self._config, self._who = config, who
        self._client = HttpClient(http_config(config, "bigquery"), name, telemetry, who)
        self._table = Table(config, self._client)
        self._layout: Layout | None = None
        self._columns: object = None

    async def path(self) -> str:
        await self._table.find_project()
        return f"projects/{self._table.project}/datasets/{self._table.dataset}/tables/{self._config.table}"

    async def look(self) -> None:
        """As insert_all does it: with `schema: table`, or where the table may have to be made."""
        if self._config.schema == "table":
            await self._table.refresh()
        elif self._config.create_table and self._table.columns is None:
            await self._table.ready()

    async def missing(self) -> None:
        if self._config.schema == "table" or self._config.create_table:
            await self._table.missing()
        raise Retryable(f"{self._table.name} is not there; create it, or set create_table: true")

    @property
    def steady(self) -> bool:
        return self._config.schema == "auto"

    def rows(self, batch: Batch) -> Payload:
        if self._config.schema == "auto":
            return Payload(bigquery_proto.DESCRIPTOR, *bigquery_proto.rows(batch), len(batch))
        columns = self._table.columns or {}
        if self._layout is None or columns is not self._columns:
            self._layout, self._columns = Layout(columns), columns
        return Payload(self._layout.descriptor, *self._layout.rows(batch, self._config.overflow_column), len(batch))

    async def close(self) -> None:
        await self._client.close()
        await self._who.close()


def build_write_sink(config: BigqueryConfig, context: SinkContext) -> StorageWriteSink:
    """The sink of `method: storage_write`."""
    who = credentials(config, "bigquery", context.telemetry)
    channel = WriteChannel(
        write_endpoint(config), who, float(config.request_timeout), ca=config.tls.ca, proxy=config.proxy != "none")
    return StorageWriteSink(WriteTarget(config, context.name, context.telemetry, who), channel, context)
