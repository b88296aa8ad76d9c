"""The keys of a `type: gcs` sink, what is wrong with them, what they promise, and how objects are named. Makes no request."""
from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal

from ..config.units import Bytes, Seconds
from ..encode.template import Template, compile_template, sanitise
from . import Guarantee
from ._gcp_config import GcpConfig
from ._gcp_config import problems as gcp_problems
from ._gcp_config import warnings as gcp_warnings
from ._http_config import ZSTD_MEND, Problems, _installed

PIECE_BYTES = 256 * 1024
MAX_NAME_BYTES = 1024
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_SHORT = {"{yyyy}": "{time:%Y}", "{mm}": "{time:%m}", "{dd}": "{time:%d}", "{hh}": "{time:%H}"}
_WHERE = re.compile(r"\{(cluster|location|project)(?:\|([^{}]*))?\}")
_SUFFIX = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_TYPES = {"gzip": "application/gzip", "zstd": "application/zstd"}


class GcsConfig(GcpConfig, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """See docs/sinks/gcs.md.

    prefix     template of the name in front of what the sink makes of the range; each value of it is an object of its own
    max_bytes  of an object as it is stored, about; max_age: from its first record on; max_open_objects: per range
    """

    bucket: str
    prefix: str = "{cluster|no-cluster}/{node}/{yyyy}/{mm}/{dd}/{hh}"
    format: Literal["ndjson", "raw"] = "ndjson"
    merge: bool = False
    compression: Literal["none", "gzip", "zstd"] = "gzip"
    max_bytes: Bytes = Bytes(64 * 1024 * 1024)
    max_age: Seconds = Seconds(300.0)
    max_open_objects: int = 32
    storage_class: str | None = None


def compile_prefix(text: str, where: Mapping[str, str]) -> Template:
    """`where`: cluster, location, project. ValueError as compile_template."""
    for short, long in _SHORT.items():
        text = text.replace(short, long)

    def value(found: re.Match[str]) -> str:
        return sanitise(where.get(found[1], "") or found[2] or "", "path")

    return compile_template(_WHERE.sub(value, text).strip("/"), "path")


def asks_for(prefix: str) -> set[str]:
    """Which of cluster, location and project it needs."""
    return {found[1] for found in _WHERE.finditer(prefix)}


def suffix(config: GcsConfig) -> str:
    """What Spark, BigQuery and gsutil tell the format by: the end of the name."""
    return (".ndjson" if config.format == "ndjson" else ".log") + _SUFFIX[config.compression]


def content_type(config: GcsConfig) -> str:
    """Of the bytes as they are stored. No contentEncoding: with it Cloud Storage inflates what it serves, and readers that
    go by the suffix (Hadoop's and Spark's codecs, BigQuery, `gsutil cp`) would find a .gz that is none."""
    plain = "application/x-ndjson" if config.format == "ndjson" else "text/plain; charset=utf-8"
    return _TYPES.get(config.compression, plain)


def object_name(prefix: str, buffer_id: str, receipt: Mapping[str, Any], crc32c: int, suffix: str) -> str:
    """<prefix>/<buffer uuid>-<first>-<last>-<crc32c><suffix>: equal names mean equal bytes. first, last: sequence numbers of
    frames; one that is not wholly in the range goes on with . and the record where it is cut."""
    (first, record), (end, end_record) = receipt["start"], receipt["end"]
    low = f"{first}.{record}" if record else str(first)
    high = f"{end}.{end_record}" if end_record else str(end - 1)
    base = f"{buffer_id}-{low}-{high}-{crc32c:08x}{suffix}"
    room = MAX_NAME_BYTES - len(base) - 1
    kept = prefix
    if len(prefix.encode()) > room:             # what is cut off must still tell two prefixes apart
        digest = hashlib.blake2b(prefix.encode(), digest_size=8).hexdigest()
        kept = prefix.encode()[:room - 17].decode("utf-8", "ignore").rstrip("/") + "~" + digest
    return f"{kept}/{base}" if kept else base


def problems(config: GcsConfig) -> Problems:
    """What `shipper check` says."""
    found = gcp_problems(config, "storage")
    if not _BUCKET.fullmatch(config.bucket):
        found.append(("bucket", f"{config.bucket!r} is not the name of a bucket; write it without gs:// and without a path"))
    try:
        compile_prefix(config.prefix, dict.fromkeys(("cluster", "location", "project"), "x"))
    except ValueError as error:
        found.append(("prefix", f"{error}; and {{yyyy}}, {{mm}}, {{dd}}, {{hh}}, {{cluster}}, {{location}}, {{project}}"))
    if config.prefix.lstrip("/").startswith(".well-known/acme-challenge"):
        found.append(("prefix", "Cloud Storage takes no such names; choose another"))
    if config.max_bytes < PIECE_BYTES:
        found.append(("max_bytes", f"{config.max_bytes} bytes make too many objects; use 256KiB or more"))
    if config.max_age < 1:
        found.append(("max_age", "makes too many objects; use 1s or more"))
    if not 1 <= config.max_open_objects <= 1000:
        found.append(("max_open_objects", f"{config.max_open_objects} is no usable bound; use 1 to 1000"))
    if config.merge and config.format == "raw":
        found.append(("merge", "has no effect with format: raw; leave it out"))
    if config.compression == "zstd" and not _installed("compression.zstd", "backports.zstd"):
        found.append(("compression", ZSTD_MEND))
    return found


def warnings(config: GcsConfig) -> Problems:
    return gcp_warnings(config, "storage")


def guarantee(config: GcsConfig) -> Guarantee:
    return Guarantee(
        delivered_means="Cloud Storage has stored the object (200), or has it under the name that holds its checksum (412)",
        can_repeat="never: exactly once, each record in one object, also after a crash (plan, ifGenerationMatch=0)",
        can_lose="what a rule of the bucket deletes",
    )
