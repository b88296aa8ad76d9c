"""The keys of the bigquery sink, what is wrong with them, and what they promise. See docs/sinks/bigquery.md."""
from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Literal
from urllib.parse import urlsplit

from . import Guarantee
from ._gcp_config import SERVICES, GcpConfig, endpoint
from ._gcp_config import problems as gcp_problems
from ._http_config import Problems, url_problems

MAX_ROWS = 50_000
WRITE_URL = "https://bigquerystorage.googleapis.com"
EXTRA_MEND = "storage_write needs the library grpcio, which is not installed here; pip install 'shipper[bigquery]'"
_DATASET = re.compile(r"(?:(?P<project>[a-z0-9.:-]+)\.)?(?P<dataset>[A-Za-z0-9_]{1,1024})")
_TABLE = re.compile(r"[\w-]{1,1024}")

Method = Literal["insert_all", "storage_write"]


class BigqueryConfig(GcpConfig, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """See docs/sinks/bigquery.md.

    dataset          its name, or PROJECT.DATASET
    method           None: storage_write where its libraries are installed, else insert_all (method_of)
    schema           auto: the columns of the docs; table: those that the table has
    create_table     create it where it is not there (schema: auto)
    overflow_column  schema: table; takes the fields that have no column
    max_rows         of a request of insert_all
    write_endpoint   None: Google's own; where the Storage Write API is, which speaks gRPC
    """

    dataset: str
    table: str
    method: Method | None = None
    schema: Literal["auto", "table"] = "auto"
    create_table: bool = False
    overflow_column: str | None = None
    max_rows: int = 500
    write_endpoint: str | None = None


def method_of(config: BigqueryConfig) -> Method:
    """The method that is used. Nothing is imported to find out."""
    if config.method is not None:
        return config.method
    return "storage_write" if grpc_is_here() else "insert_all"


def grpc_is_here() -> bool:
    """The extra `bigquery` is installed."""
    return find_spec("grpc") is not None


def writes(config: BigqueryConfig) -> bool:
    """By the Storage Write API."""
    return method_of(config) == "storage_write"


def write_endpoint(config: BigqueryConfig) -> str:
    """scheme://host[:port]."""
    return (config.write_endpoint or WRITE_URL).rstrip("/")


def dataset_of(config: BigqueryConfig) -> tuple[str, str]:
    """(project, dataset); "" as the project where only the metadata server can say."""
    found = _DATASET.fullmatch(config.dataset)
    assert found is not None, "checked"
    return found["project"] or config.project or "", found["dataset"]


def config_problems(config: BigqueryConfig) -> Problems:
    """What `shipper check` says."""
    found = gcp_problems(config, "bigquery")
    found += _write_problems(config) if writes(config) else []
    dataset = _DATASET.fullmatch(config.dataset)
    if dataset is None:
        found.append(("dataset", f"{config.dataset!r} is not the name of a dataset; write for example logs, or project.logs"))
    elif dataset["project"] and config.project and dataset["project"] != config.project:
        found.append(("dataset", f"is in {dataset['project']}, and project says {config.project}; keep one of them"))
    if not _TABLE.fullmatch(config.table):
        found.append(("table", f"{config.table!r} is not the name of a table; use letters, digits, _ and -"))
    if config.schema == "auto" and config.overflow_column is not None:
        found.append(("overflow_column", "has no effect with schema: auto, whose column `fields` takes all; leave it out"))
    if config.schema == "table" and config.create_table:
        found.append(("create_table", "with schema: table it is not known which columns; create the table, or use schema: auto"))
    if not 1 <= config.max_rows <= MAX_ROWS:
        found.append(("max_rows", f"must be from 1 to {MAX_ROWS}; BigQuery recommends 500"))
    return found


def _write_problems(config: BigqueryConfig) -> Problems:
    """Of method: storage_write."""
    if not grpc_is_here():
        return [("method", EXTRA_MEND)]
    elsewhere = endpoint(config, "bigquery") != SERVICES["bigquery"].url
    if elsewhere and config.write_endpoint is None:
        return [("write_endpoint", "is missing: endpoint is not Google's; set it as well, or use method: insert_all")]
    found = url_problems(write_endpoint(config), "write_endpoint")
    parts = urlsplit(write_endpoint(config))
    if not found and (parts.path or parts.query):
        found.append(("write_endpoint", "has a path, and gRPC knows none; write https://host:port"))
    if not config.tls.verify and parts.scheme == "https":
        found.append(("tls.verify", "false is not possible with method: storage_write; give the receiver's CA as tls.ca"))
    found += [(f"tls.{key}", "is not possible with method: storage_write; leave it out, or use method: insert_all")
              for key in ("cert", "key", "server_name") if getattr(config.tls, key) is not None]
    if config.proxy not in (None, "none"):
        found.append(("proxy", "method: storage_write takes a proxy from https_proxy alone; leave this out, or write none"))
    return found


def write_guarantee(config: BigqueryConfig) -> Guarantee:
    return Guarantee(
        delivered_means="the Storage Write API acknowledged the row's place in a stream that this buffer alone writes to",
        can_repeat="no row, kill -9 and lost answers included; only where a stream is gone before its rows could be counted, or "
        "the spool is damaged or removed by hand, both said as errors. Equal `id` means equal content",
        can_lose="nothing that the table keeps; rows that it refuses are dead letters with its words",
    )


def guarantee(config: BigqueryConfig) -> Guarantee:
    """Of the method that is used."""
    return write_guarantee(config) if writes(config) else insert_all_guarantee(config)


def insert_all_guarantee(config: BigqueryConfig) -> Guarantee:
    return Guarantee(
        delivered_means="insertAll answered 200 and did not name the record's row",
        can_repeat="after an answer that was lost, where BigQuery's memory of insertIds (about a minute, best effort) does not "
        "help; equal `id` means equal content",
        can_lose="nothing that the table keeps; rows that it calls invalid are dead letters with its words",
    )
