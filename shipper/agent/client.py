"""How a command asks the running agent: HTTP over state_dir/admin.sock. Driver."""
from __future__ import annotations

import http.client
import json
import os
import socket
from argparse import ArgumentParser, Namespace
from typing import Any

from ..errors import Fatal, Usage
from . import SOCKET_NAME

DEFAULT_STATE_DIR = "/var/lib/shipper"
TIMEOUT_S = 10.0
ORDER_TIMEOUT_S = 25.0


def add_state_dir(parser: ArgumentParser) -> None:
    """--state-dir DIR or -c FILE; without either SHIPPER_STATE_DIR, else the default directory."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--state-dir", metavar="DIR", help=f"the agent's state_dir (default {DEFAULT_STATE_DIR})")
    group.add_argument("-c", "--config", metavar="FILE", help="take state_dir from this config")


def state_dir_of(args: Namespace) -> str:
    """The directory that the arguments name; Usage where it does not exist."""
    state_dir = args.state_dir or os.environ.get("SHIPPER_STATE_DIR", DEFAULT_STATE_DIR)
    if args.config:
        from ..config.loader import load_state_dir

        state_dir = load_state_dir(args.config, os.environ)
        if not os.path.exists(state_dir):
            raise Usage(f"no state directory {state_dir} (state_dir of {args.config}), so no agent has run with this config "
                        f"here; start one: shipper run -c {args.config}")
    if not (args.state_dir or args.config or os.path.exists(state_dir)):
        raise Usage(f"no state directory {state_dir}: no agent has run here, or its state_dir is another one; name it with "
                    "--state-dir DIR or -c FILE")
    if not os.path.isdir(state_dir):
        raise Usage(f"no state directory {state_dir}; name it with --state-dir DIR or -c FILE")
    return str(state_dir)


class UnixConnection(http.client.HTTPConnection):
    """HTTP/1.1 over a Unix socket in `directory`, whatever the length of its path."""

    def __init__(self, directory: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._directory = directory

    def connect(self) -> None:
        directory_fd = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{directory_fd}/{SOCKET_NAME}")   # sun_path holds 107 bytes only
        finally:
            os.close(directory_fd)


def ask(state_dir: str, path: str, timeout_s: float = TIMEOUT_S, *, parse: bool = True) -> Any | None:
    """The JSON at `path` of the agent that runs on `state_dir`; None where none runs. Fatal where it does not answer.

    Without `parse`: whatever it answers, as bytes.
    """
    answer = _request(state_dir, "GET", path, None, timeout_s)
    if answer is None or not parse:
        return answer and answer[1]
    return _parsed(state_dir, path, *answer)


def order(state_dir: str, path: str, what: Any, timeout_s: float = ORDER_TIMEOUT_S) -> Any:
    """POST an order to the agent; its answer. Usage where the agent refuses it; Fatal where it is gone."""
    answer = _request(state_dir, "POST", path, json.dumps(what).encode(), timeout_s)
    if answer is None:
        raise Fatal(f"the agent on {state_dir} has ended; run the same command again")
    if answer[0] == 400:
        raise Usage(answer[1].decode(errors="replace").strip())
    return _parsed(state_dir, path, *answer)


def _parsed(state_dir: str, path: str, status: int, body: bytes) -> Any:
    if status != 200:
        raise Fatal(f"the agent on {state_dir} answered {status} to {path}: {body[:200].decode(errors='replace').strip()}")
    return json.loads(body)


def _request(state_dir: str, method: str, path: str, content: bytes | None, timeout_s: float) -> tuple[int, bytes] | None:
    connection = UnixConnection(state_dir, timeout_s)
    try:
        connection.request(method, path, content)
        answer = connection.getresponse()
        body = answer.read()
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except PermissionError:
        raise Fatal(f"may not open {state_dir}/{SOCKET_NAME}; run this as the agent's user (sudo)") from None
    except (OSError, http.client.HTTPException) as error:
        raise Fatal(f"the agent on {state_dir} does not answer ({error or type(error).__name__}); "
                    "look at its log, or restart it") from None
    finally:
        connection.close()
    return answer.status, body
