"""The real rsyslogd on loopback, in a directory of its own. Stops only the process that it started.

    async with Rsyslogd(tmp_path, imtcp=True, imptcp=True, imudp=True, imrelp=True) as daemon:
        daemon.ports["imtcp"]; records = await daemon.records(3)

Each record is what rsyslogd parsed: raw, pri, time, host, app, sd, msg, tag, from the parser chain (5424, then 3164).
"""
from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

from tests.support.ports import kept_port

RSYSLOGD = "/usr/sbin/rsyslogd"
WAIT_S = 15
_FIELDS = {
    "raw": "rawmsg", "pri": "pri", "host": "hostname", "app": "app-name", "sd": "structured-data", "msg": "msg",
    "tag": "syslogtag",
}


def _template() -> str:
    parts = ['constant(value="{")', 'property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")']
    for name, source in _FIELDS.items():
        parts += ['constant(value=",")', f'property(outname="{name}" name="{source}" format="jsonf")']
    return 'template(name="record" type="list") { ' + " ".join([*parts, 'constant(value="}\\n")']) + " }"


def _udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Rsyslogd:
    """imtcp, imptcp, imudp: True for each input wanted. tls: {ca, cert, key}, with `client: True` for mutual TLS.

    octet_counted: False for lines that begin with a digit, which imtcp takes for an octet count otherwise.
    queue: "direct" stores a message before the next one is read; None is rsyslog's default, 10,000 messages in memory.
    """

    def __init__(
        self, directory: Path, *, tls: dict[str, Any] | None = None, max_message: str = "64k", octet_counted: bool = True,
        queue: str | None = None, **inputs: bool,
    ) -> None:
        self.directory, self.tls, self.max_message, self.octet_counted = directory, tls, max_message, octet_counted
        self.queue = queue
        self.inputs = [name for name, wanted in inputs.items() if wanted]
        self.out = directory / "rsyslogd.jsonl"
        self.ports: dict[str, int] = {}
        self._process: asyncio.subprocess.Process | None = None

    def _config(self) -> str:
        lines = [
            f'global(workDirectory="{self.directory}" maxMessageSize="{self.max_message}" '
            'parser.escapeControlCharactersOnReceive="off")',
        ]
        if self.tls:
            lines.append(
                f'global(defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{self.tls["ca"]}" '
                f'defaultNetstreamDriverCertFile="{self.tls["cert"]}" defaultNetstreamDriverKeyFile="{self.tls["key"]}")'
            )
        if self.queue:
            lines.append(f'main_queue(queue.type="{self.queue}")')
        for name in self.inputs:
            lines += self._input(name)
        lines += [_template(), f'action(type="omfile" file="{self.out}" template="record" asyncWriting="off" flushOnTXEnd="on")']
        return "\n".join(lines) + "\n"

    def _input(self, name: str) -> list[str]:
        if name == "imudp":
            self.ports["imudp"] = _udp_port()
            return ['module(load="imudp")', f'input(type="imudp" address="127.0.0.1" port="{self.ports["imudp"]}")']
        if name == "imrelp":
            return self._relp()
        driver = ""
        if name == "imtcp" and self.tls:
            mode = "x509/certvalid" if self.tls.get("client") else "anon"
            driver = f' streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="{mode}"'
        self.ports.setdefault(name, kept_port())
        return [
            f'module(load="{name}"{driver})',
            f'input(type="{name}" address="127.0.0.1" port="{self.ports[name]}" '
            f'supportOctetCountedFraming="{"on" if self.octet_counted else "off"}")',
        ]

    def _relp(self) -> list[str]:
        """It has a TLS of its own (librelp's), always with the client's certificate."""
        self.ports.setdefault("imrelp", kept_port())
        tls = ""
        if self.tls:
            tls = (f' tls="on" tls.caCert="{self.tls["ca"]}" tls.myCert="{self.tls["cert"]}" '
                   f'tls.myPrivKey="{self.tls["key"]}" tls.authMode="certvalid"')
        return ['module(load="imrelp")',
                f'input(type="imrelp" address="127.0.0.1" port="{self.ports["imrelp"]}" maxDataSize="{self.max_message}"{tls})']

    async def __aenter__(self) -> Rsyslogd:
        return await self.start()

    async def start(self) -> Rsyslogd:
        """Starts it, on the same ports after it has ended."""
        (self.directory / "rsyslogd.pid").unlink(missing_ok=True)
        config = self.directory / "rsyslog.conf"
        config.write_text(self._config())
        log = os.open(self.directory / "rsyslogd.log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        self._process = await asyncio.create_subprocess_exec(
            shutil.which(RSYSLOGD) or RSYSLOGD, "-n", "-f", str(config), "-i", str(self.directory / "rsyslogd.pid"),
            stdout=log, stderr=log,
        )
        os.close(log)
        for name in self.inputs:
            await self._until(lambda n=name: _bound("udp" if n == "imudp" else "tcp", self.ports[n]))
        return self

    async def _until(self, look: Any) -> Any:
        """Polls what cannot be awaited: files and sockets of another process."""
        async with asyncio.timeout(WAIT_S):
            while not (found := look()):
                if self._process is not None and self._process.returncode is not None:
                    raise AssertionError((self.directory / "rsyslogd.log").read_text())
                await asyncio.sleep(0.01)
        return found

    async def records(self, count: int) -> list[dict[str, str]]:
        """What it wrote, once there are `count`; rsyslogd's own messages are left out."""
        try:
            found: list[dict[str, str]] = await self._until(lambda: self._enough(count))
        except TimeoutError:
            raise AssertionError(f"{len(self._read())} of {count} records: {self._read()[-3:]}") from None
        return found

    def _enough(self, count: int) -> list[dict[str, str]]:
        found = self._read()
        return found if len(found) >= count else []

    def _read(self) -> list[dict[str, str]]:
        if not self.out.exists():
            return []
        lines = self.out.read_bytes().decode("utf-8", "surrogateescape").split("\n")[:-1]
        return [record for line in lines if (record := json.loads(line, strict=False))["app"] != "rsyslogd"]

    def send_signal(self, number: int) -> None:
        """To this daemon only."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        self.send_signal(signal.SIGKILL)
        await self.stop()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """SIGTERM, and gone when this returns."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 5)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._process._transport.close()  # type: ignore[attr-defined]


def _bound(protocol: str, port: int) -> bool:
    """Does somebody listen on this port? /proc/net lists local addresses in hex; 07 and 0A are the states of a listener."""
    lines = Path(f"/proc/net/{protocol}").read_text().splitlines()
    return any(f"0100007F:{port:04X}" in line.split()[1] and line.split()[3] in ("07", "0A") for line in lines[1:])
