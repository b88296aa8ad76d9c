"""Chunks of bytes become columns of records. See decoder.py."""
from .decoder import Decoder
from .lines import first_ns, sniff
from .records import Budget, Reread
from .times import from_ns, to_ns

__all__ = ["Budget", "Decoder", "Reread", "first_ns", "from_ns", "sniff", "to_ns"]
