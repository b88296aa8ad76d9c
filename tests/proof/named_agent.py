"""The real agent with a resolver that a test can change: `SHIPPER_TEST_NAMES=FILE python -m tests.proof.named_agent run -c ...`.

FILE holds one JSON object, name -> address, and is read at each look-up. Names that it does not have are the system's.
"""
from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """As `shipper`."""
    real, names = socket.getaddrinfo, Path(os.environ["SHIPPER_TEST_NAMES"])

    def resolve(host: Any, *more: Any, **named: Any) -> Any:
        return real(json.loads(names.read_text()).get(host, host), *more, **named)

    socket.getaddrinfo = resolve
    from shipper.agent.cli import main as shipper

    return shipper(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
