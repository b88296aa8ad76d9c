"""Which file is it, and how is it written: key, definition and format of a file that is begun. Driver: reads a head.

    first line complete ──► no copy, nor being made? ──► a key that no other file has ──► FileRef
    format              ──► as the settings say, else by the first line

Invariants:
  DE1  no key before the first line is complete, or nobody will finish it: what it is made of must not change (identity.F1)
  DE2  two files that begin alike have two keys: of one lineage, of copies of a pod's directory, and the content before a cut
  DE3  among container logs what is neither format is a damaged CRI line, not a third one
"""
from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from ..model import FileRef, Piece
from . import copies
from .file import TailFile
from .identity import HEAD_BYTES, digest, file_key, first_line, known_part
from .ports import Formats, Settings

if TYPE_CHECKING:
    from .lineage import Lineage


def define(
    lineage: Lineage, file: TailFile, formats: Formats, *, ending: bool = False, head: bytes | None = None
) -> FileRef | None:
    """The file's key and definition; None while its first line is not complete (no frame is written before).

    `ending`: nobody will finish that line; what is there counts. `head`: its first bytes, where they were just read.
    """
    if file.ref is not None:
        return file.ref
    if head is None:
        head = file.head()
    line = first_line(head) if ending or not file.in_zeros else None
    if line is None and ending and head:
        line = head
    if line is None or (not ending and copies.is_being_copied(lineage, file, head)):
        return None
    file.form = file.form or form_by(lineage.settings, line, formats)
    file.begin(head)                                      # first: where the disk fails, no key is taken in vain, try after try
    key = _new_key(lineage, line)
    begins = known_part(head)
    file.ref = FileRef(key, lineage.source, file.path, file.device, file.inode, len(begins), digest(begins))
    return file.ref


def _new_key(lineage: Lineage, line: bytes) -> str:
    """DE2. It is this file's from now on."""
    taken = {f.ref.key for f in [*lineage.files, *lineage.done] if f.ref is not None}
    salt = secrets.token_hex(5) if lineage.settings.host_file else ""
    key = file_key(lineage.source, line, salt)
    again = 1
    while key in taken or key in lineage.salted or not lineage.claim(key):
        key = file_key(lineage.source, line, f"{salt}{again}")
        again += 1
    return key


def form_by(settings: Settings, line: bytes, formats: Formats) -> str:
    """The format of a file that begins with this line."""
    if settings.form == "plain":
        formats.taken_as_plain(line, settings.source_name)
        return "raw"
    if settings.form != "auto":
        return settings.form
    form = formats.sniff(line)
    return form if form != "raw" or settings.host_file else "cri"         # DE3


def form_of(lineage: Lineage, file: TailFile, formats: Formats) -> str:
    """The format of a file, also of one that was resumed: its definition says which file, not how it is written."""
    if not file.form and file.handle is not None:
        file.form = form_by(lineage.settings, first_line(file.head()) or b"", formats)
    return file.form or form_by(lineage.settings, b"", formats)


def form_at(lineage: Lineage, key: str, formats: Formats) -> str:
    """As `form_of`, of the file with this key, which may be there as its ignored copy alone."""
    file = lineage.file_of(key)
    if file is not None:
        return form_of(lineage, file, formats)
    return form_by(lineage.settings, first_line(lineage.reread(Piece(key, 0, HEAD_BYTES))) or b"", formats)
