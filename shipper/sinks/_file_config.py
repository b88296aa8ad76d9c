"""The keys of a `type: file` sink, what is wrong with them, and what they promise. Pure."""
from __future__ import annotations

import errno
import posixpath
import re
from typing import Literal

import msgspec

from ..config.units import Bytes, Seconds
from ..encode.template import Template, compile_template
from ..errors import Retryable
from . import Guarantee
from ._file_rotate import Rules

MIN_OPEN_FILES = 1
_MODE = re.compile(r"0?[0-7]{3}")


class RotateConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """max_size, max_age: None: no limit. keep: rotated files per path; None: all of them."""

    max_size: Bytes | None = None
    max_age: Seconds | None = None
    keep: int | None = None
    compress: Literal["gzip", "none"] = "none"


class FileConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """See docs/sinks/file.md. `mode`, `dir_mode`: octal digits, as chmod takes them. `merge`: parsed fields at the top."""

    path: str
    format: Literal["ndjson", "raw", "logfmt"] = "ndjson"
    merge: bool = False
    rotate: RotateConfig | None = None
    max_open_files: int = 64
    mode: str = "0640"
    dir_mode: str = "0750"


def problems(config: FileConfig) -> list[tuple[str, str]]:
    """What `shipper check` says: (key path below the sink, problem; mend)."""
    found: list[tuple[str, str]] = []
    try:
        root_of(compile_template(config.path, "path"))
    except ValueError as error:
        found.append(("path", str(error)))
    if config.max_open_files < MIN_OPEN_FILES:
        found.append(("max_open_files", f"{config.max_open_files} leaves no file to write to; use {MIN_OPEN_FILES} or more"))
    for name in ("mode", "dir_mode"):
        if not _MODE.fullmatch(getattr(config, name)):
            found.append((name, f'{getattr(config, name)!r} is no file mode; write three octal digits in quotes, such as "0640"'))
    return found + _rotate_problems(config.rotate)


def _rotate_problems(rotate: RotateConfig | None) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if rotate is None:
        return found
    if rotate.max_size is None and rotate.max_age is None:
        found.append(("rotate", "never happens without max_size or max_age; give one of them, or leave `rotate` out"))
    if rotate.max_size is not None and rotate.max_size < 1:
        found.append(("rotate.max_size", "must be larger than 0; write for example 100MiB"))
    if rotate.max_age is not None and rotate.max_age < 1:
        found.append(("rotate.max_age", "must be 1s or longer; write for example 24h"))
    if rotate.keep is not None and rotate.keep < 1:
        found.append(("rotate.keep", "must be 1 or more; leave it out to keep all rotated files"))
    return found


def root_of(template: Template) -> str:
    """The directory that no rendered path leaves: the static text up to its last '/'. ValueError where it is not one."""
    root = template.static_prefix.rpartition("/")[0]
    if not template.static_prefix.startswith("/"):
        raise ValueError(f"column 1: {template.text!r} is not absolute; write for example /var/log/archive/{{pod}}.ndjson")
    if not root:
        raise ValueError(f"column 1: {template.text!r} has no directory below / in front of its name or first field; "
                         "write for example /var/log/archive/{namespace}/{pod}.ndjson")
    plain = posixpath.normpath("/" + root.lstrip("/"))            # POSIX lets normpath keep two leading slashes
    if plain != root:
        raise ValueError(f"column 1: {root!r} has '..', '.' or '//' in it, and two paths could be one file; write {plain}")
    return root


def rules_of(rotate: RotateConfig | None) -> Rules:
    if rotate is None:
        return Rules()
    return Rules(rotate.max_size, rotate.max_age, rotate.keep, rotate.compress == "gzip")


def guarantee(config: FileConfig) -> Guarantee:
    """What `explain` says of this sink."""
    can_lose = "nothing"
    if config.rotate is not None and config.rotate.keep is not None:
        can_lose = f"what rotation deletes: more than {config.rotate.keep} rotated files of a path"
    return Guarantee(
        delivered_means="fsync of the file and of its name",
        can_repeat="nothing: after a crash each file is cut back to the length stored with the cursor; "
                   "only where somebody else moves, cuts or copies an output file meanwhile",
        can_lose=can_lose,
    )


_MENDS = {
    errno.ENOSPC: "the disk is full; make room, or set rotate.keep and rotate.compress",
    errno.EDQUOT: "the quota is used up; raise it, or set rotate.keep and rotate.compress",
    errno.EROFS: "the file system is read-only; mount it writable",
    errno.EACCES: "give the agent's user write access to this directory",
    errno.EPERM: "give the agent's user write access; a file with chattr +i or +a cannot be cut back",
    errno.ELOOP: "it is a symbolic link, and none is followed below the path's fixed part; put a directory or file there",
    errno.ENOTDIR: "a file or link stands where a directory is needed; move it away",
    errno.EISDIR: "a directory stands there; move it away or change `path`",
    errno.EINVAL: "it must be a regular file below the path's fixed part; move away what stands there",
    errno.EMFILE: "too many open files; lower max_open_files or raise LimitNOFILE",
    errno.ENFILE: "the system has too many open files; raise fs.file-max",
    errno.EIO: "the disk reports an error; look at the kernel's log, and replace it where it persists",
}


def trouble(error: OSError) -> Retryable:
    """An error of the file system as delivery takes it: what, where, the mend."""
    mend = _MENDS.get(error.errno or 0, "see to the file system")
    where = f" {error.filename}:" if error.filename else ""
    return Retryable(f"cannot write{where} {error.strerror or error}; {mend}")
