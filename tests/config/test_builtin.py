"""The config of an agent without a file (E1, E2)."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from shipper.config import builtin
from shipper.config.loader import load
from shipper.errors import Usage

ADDRESS = {"SHIPPER_SINK_ADDRESS": "logs.example.com:6514"}


def test_an_address_is_enough():
    loaded = load(builtin.NAME, ADDRESS)
    assert loaded.warnings == []
    config = loaded.config
    assert [*config.sources] == ["containers"] and config.state_dir == "/var/lib/shipper"
    sink = config.sinks["central"].config
    assert (sink.address, sink.protocol, sink.format) == ("logs.example.com:6514", "tls", "rfc5424")


def test_each_variable_has_its_place():
    config = load(builtin.NAME, ADDRESS | {
        "SHIPPER_SINK_PROTOCOL": "tcp", "SHIPPER_SINK_FORMAT": "rfc3164", "SHIPPER_SINK_WHEN_FULL": "drop_oldest",
        "SHIPPER_CONTAINERS": "/var/log/containers/web-*.log", "SHIPPER_FILES": "/var/log/*.log", "SHIPPER_BUFFER_SIZE": "64MiB",
        "SHIPPER_STATE_DIR": "/srv/shipper", "SHIPPER_ADMIN_LISTEN": "10.0.0.7:9", "SHIPPER_LOG_LEVEL": "debug",
        "NODE_NAME": "n7",
    }).config
    sink = config.sinks["central"]
    assert (sink.config.protocol, sink.config.format, sink.common.when_full) == ("tcp", "rfc3164", "drop_oldest")
    includes = [source.include for source in config.sources.values()]
    assert includes == [["/var/log/containers/web-*.log"], ["/var/log/*.log"]]
    assert (config.buffer.max_size, config.state_dir, config.admin.listen) == (64 * 1024 * 1024, "/srv/shipper", "10.0.0.7:9")
    assert (config.log.level, config.node) == ("debug", "n7")


def test_container_logs_of_a_directory_of_ones_own_are_read():
    loaded = load(builtin.NAME, ADDRESS | {"SHIPPER_CONTAINERS": "/srv/${x}'\"/pods/*/*.log"})
    source = loaded.config.sources["containers"]
    assert (source.include, loaded.warnings) == (["/srv/${x}'\"/pods/*/*.log"], [])
    assert source.allowed_roots == ["/var/log/pods", "/var/lib/docker/containers", "/srv/${x}'\"/pods"]


def test_null_switches_the_admin_port_off_as_in_a_file():
    assert load(builtin.NAME, ADDRESS | {"SHIPPER_ADMIN_LISTEN": "null"}).config.admin.listen is None


def test_a_wrong_value_is_told_as_in_a_file():
    with pytest.raises(Usage, match=r"^\(environment\):\d+:\d+: sinks.central.protocol: .*SHIPPER_SINK_PROTOCOL"):
        load(builtin.NAME, ADDRESS | {"SHIPPER_SINK_PROTOCOL": "carrier-pigeon"})


@pytest.mark.parametrize(("path", "environ", "want"), [
    ("a.yaml", ADDRESS, "a.yaml"), ("a.yaml", {}, "a.yaml"), (None, ADDRESS, builtin.NAME), (None, {}, None),
    (None, {"SHIPPER_SINK_ADDRESS": ""}, None),
])
def test_a_file_wins_and_a_forgotten_one_stays_an_error(path: str | None, environ: dict[str, str], want: str | None):
    assert builtin.path_or_built_in(path, environ) == want


def test_the_docs_name_every_variable():
    page = (Path(__file__).parents[2] / "docs/configuration.md").read_text()
    names = set(re.findall(r"\$\{(\w+)", builtin.built_in({"SHIPPER_FILES": "/x/*"})))
    assert len(names) > 5 and [name for name in names if f"`{name}`" not in page] == []
