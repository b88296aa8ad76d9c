"""Who is measured: ours as its users have it, Debian's rsyslogd, or any other command. Each in a directory of its own.

A contender is a function (setting) -> argv; it writes its config into `setting.work`. Nothing else is known of it.
"""
from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

RSYSLOGD = "/usr/sbin/rsyslogd"


@dataclass(frozen=True, slots=True)
class Setting:
    """One run: read `containers` (links into `pods`), send to 127.0.0.1:port, keep state in `work`, which is new."""

    containers: Path
    pods: Path
    port: int
    work: Path
    variant: str = ""


Prepare = Callable[[Setting], list[str]]

VARIANTS = {
    "": "format: rfc5424, framing: newline",
    "octet-counted": "format: rfc5424, framing: octet-counted",
}


def ours(shipper: str, setting: Setting) -> list[str]:
    """The agent with a syslog sink and its admin port, all else by default."""
    config = setting.work / "shipper.yaml"
    config.write_text(f"""\
node: bench-node
state_dir: {setting.work}/state
sources:
  containers: {{type: containers, include: ["{setting.containers}/*.log"], allowed_roots: ["{setting.pods}"]}}
sinks:
  far: {{type: syslog, address: "127.0.0.1:{setting.port}", protocol: tcp, {VARIANTS[setting.variant]}, start_at: oldest}}
admin: {{listen: "127.0.0.1:0"}}
""")
    return [shipper, "run", "-c", str(config)]


def rsyslogd(setting: Setting) -> list[str]:
    """imfile with inotify to omfwd over TCP, with a disk-assisted queue; the line as it stands behind a name."""
    config = setting.work / "rsyslog.conf"
    config.write_text(f"""\
global(workDirectory="{setting.work}" maxMessageSize="64k")
module(load="imfile" mode="inotify")
input(type="imfile" file="{setting.containers}/*.log" tag="kube" addMetadata="on" freshStartTail="off")
template(name="line" type="list") {{
  property(name="timereported" dateFormat="rfc3339")
  constant(value=" ")
  property(name="$!metadata!filename" regex.type="ERE" regex.expression="([a-zA-Z0-9_-]*)-" regex.submatch="1")
  property(name="msg" spifno1stsp="on")
  property(name="msg")
  constant(value="\\n")
}}
action(type="omfwd" target="127.0.0.1" port="{setting.port}" protocol="tcp" template="line"
  queue.type="LinkedList" queue.filename="far" queue.maxDiskSpace="1g" queue.saveOnShutdown="on" action.resumeRetryCount="-1")
""")
    return [RSYSLOGD, "-n", "-f", str(config), "-i", str(setting.work / "rsyslogd.pid")]


def command(template: str, setting: Setting) -> list[str]:
    """Any program: {containers}, {port} and {work} are put in."""
    words = shlex.split(template.format(containers=setting.containers, port=setting.port, work=setting.work))
    return [shutil.which(words[0]) or words[0], *words[1:]]


def contenders(shipper: str, others: list[str], *, with_rsyslogd: bool = True) -> dict[str, Prepare]:
    """By name, ours first. `others`: NAME=COMMAND."""
    found: dict[str, Prepare] = {"shipper": partial(ours, shipper)}
    if with_rsyslogd:
        found["rsyslogd"] = rsyslogd
    for other in others:
        name, _, template = other.partition("=")
        found[name] = partial(command, template)
    return found


def missing(shipper: str, *, with_rsyslogd: bool) -> str | None:
    """What has to be installed first, or None."""
    if not os.access(shipper, os.X_OK):
        return f"{shipper} is not there: run `make bench`, which installs it, or give --shipper PATH"
    if with_rsyslogd and not os.access(RSYSLOGD, os.X_OK):
        return f"{RSYSLOGD} is not there: apt-get install rsyslog, or leave it out with --no-rsyslogd"
    return None
