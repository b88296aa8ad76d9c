"""The configs in config/, the schema and the docs page are true."""
import json
from pathlib import Path

import pytest

from shipper import sinks
from shipper.config.convert import struct_type
from shipper.config.loader import load, load_text
from shipper.config.schema import json_schema
from shipper.config.types import Admin, BufferSettings, Config, ContainersSource, FilesSource, Log, SinkCommon
from shipper.errors import Usage

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "config").glob("*.yaml"))
SYSLOG = {"SYSLOG_ADDRESS": "logs.example.com:6514"}
RSYSLOG = {"RSYSLOG_TARGET": "10.0.0.1", "RSYSLOG_PORT": "514", "RSYSLOG_PROTOCOL": "tcp"}
NEEDS = {
    "quickstart.yaml": {"HOME": "/home/me"}, "bare-host.yaml": SYSLOG, "daemonset.yaml": {"NODE_NAME": "n1", **SYSLOG},
    "rsyslog-compat.yaml": RSYSLOG, "gke.yaml": {"NODE_NAME": "n1"},
}


def test_there_is_a_config_for_each_of_these_needs():
    assert {*NEEDS} <= {path.name for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_config_loads_without_a_warning(path):
    assert load(str(path), NEEDS[path.name]).warnings == []


@pytest.mark.parametrize(("name", "variable"), [(name, variable) for name, needs in NEEDS.items() for variable in needs])
def test_a_shipped_config_says_which_variable_it_misses(name, variable):
    environ = {key: value for key, value in NEEDS[name].items() if key != variable}
    with pytest.raises(Usage, match=f"the environment variable {variable} is not set; set it"):
        load(str(ROOT / "config" / name), environ)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_rsyslog_compat_sends_raw_lines_to_the_given_target(protocol):
    config = load(str(ROOT / "config/rsyslog-compat.yaml"), RSYSLOG | {"RSYSLOG_PROTOCOL": protocol}).config
    sink = config.sinks["rsyslog"].config
    assert (sink.address, sink.protocol, sink.format) == ("10.0.0.1:514", protocol, "container-logs")
    assert config.sources["containers"].format == "raw"


@pytest.mark.parametrize("wrong", [{"RSYSLOG_PORT": "many"}, {"RSYSLOG_PROTOCOL": "TCPP"}, {"RSYSLOG_TARGET": ""}])
def test_rsyslog_compat_refuses_a_target_that_is_none(wrong):
    with pytest.raises(Usage):
        load(str(ROOT / "config/rsyslog-compat.yaml"), RSYSLOG | wrong)


def test_the_schema_in_config_is_the_one_that_check_prints():
    stored = json.loads((ROOT / "config/schema.json").read_text())
    assert stored == json_schema(), "run: shipper check --schema > config/schema.json"


def test_the_schema_knows_every_sink_and_every_common_key():
    choices = json_schema()["properties"]["sinks"]["additionalProperties"]["oneOf"]
    assert [choice["properties"]["type"]["const"] for choice in choices] == sinks.available()
    for choice in choices:
        assert {f.encode_name for f in struct_type(SinkCommon).fields} <= {*choice["properties"]}


@pytest.mark.parametrize("type_name", sinks.available())
def test_no_sink_hides_a_common_key(type_name):
    own = {f.encode_name for f in struct_type(sinks.find(type_name).config).fields}
    assert not own & {"type", *(f.encode_name for f in struct_type(SinkCommon).fields)}


@pytest.mark.parametrize("cls", [Config, ContainersSource, FilesSource, BufferSettings, SinkCommon, Admin, Log])
def test_the_docs_name_every_key(cls):
    page = (ROOT / "docs/configuration.md").read_text()
    assert [f.encode_name for f in struct_type(cls).fields if f"`{f.encode_name}`" not in page] == []


class TestReading:
    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(Usage, match=f"{tmp_path}/no.yaml: no such file; name the config with -c FILE"):
            load(f"{tmp_path}/no.yaml", {})

    def test_a_directory(self, tmp_path):
        with pytest.raises(Usage, match="is a directory; name the config file in it"):
            load(str(tmp_path), {})

    def test_a_name_that_can_not_be_one(self):
        with pytest.raises(Usage, match="cannot be read"):
            load("a\0b", {})

    def test_a_file_that_is_not_readable(self):
        with pytest.raises(Usage, match=r"/proc/self/mem: cannot be read \(.*\); run as a user who may read it"):
            load("/proc/self/mem", {})

    def test_a_file_that_is_too_large(self, tmp_path):
        path = tmp_path / "large.yaml"
        path.write_bytes(b"#" * (1024 * 1024 + 1))
        with pytest.raises(Usage, match="larger than 1048576 bytes"):
            load(str(path), {})


def _block(text: str, name: str) -> str:
    """A sink or source that stands in the text as a comment, without its #."""
    begin = text.index(f"  # {name}:")
    lines = []
    for line in text[begin:].splitlines():
        if not line.startswith("  # "):
            break
        lines.append("  " + line[4:])
    return "\n".join(lines) + "\n"


GKE_BLOCKS = [("archive", "gcs"), ("warehouse", "bigquery")]


@pytest.mark.parametrize(("name", "type_name"), [pair for pair in GKE_BLOCKS if pair[1] in sinks.available()])
def test_each_block_of_gke_is_ready(name, type_name):
    text = (ROOT / "config/gke.yaml").read_text()
    before, _, after = text.partition("sinks:\n")
    whole = f"{before}sinks:\n{_block(text, name)}\nadmin{after.partition('admin')[2]}"
    config = load_text(whole, "gke.yaml", NEEDS["gke.yaml"]).config
    assert config.sinks[name].type == type_name


def test_gke_ships_the_rest_of_the_journal():
    config = load_text((ROOT / "config/gke.yaml").read_text(), "gke.yaml", NEEDS["gke.yaml"]).config
    assert config.sources["node-journal"].drop[0].field == "_SYSTEMD_UNIT"
