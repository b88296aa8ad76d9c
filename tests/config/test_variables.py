"""Variables that are set for the agent and that nothing reads."""
from __future__ import annotations

import pytest

from shipper.config import builtin
from shipper.config.loader import load, load_text

S = "sources:\n  logs: {type: files, include: ['${SHIPPER_LOGS:-/tmp/q/*.log}']}\n"
K = "sinks:\n  out: {type: syslog, address: 'h:1', protocol: '${SYSLOG_PROTOCOL:-tls}', start_at: oldest}\n"


def warnings(**environ: str) -> list[str]:
    return load_text(S + K, "c.yaml", environ).warnings


def test_a_misspelt_variable_of_ours_is_a_warning_with_the_one_that_was_meant():
    assert warnings(SHIPPER_LOG="/var/log/*.log") == [
        "environment: SHIPPER_LOG: nothing reads this variable; did you mean SHIPPER_LOGS?"]
    assert warnings(SHIPPER_ZZ="secret") == [
        "environment: SHIPPER_ZZ: nothing reads this variable; a config reads it where it says ${SHIPPER_ZZ}"]


def test_a_misspelt_variable_beside_one_that_the_config_names_is_a_warning():
    assert warnings(SYSLOG_PROTOCL="tcp") == [
        "environment: SYSLOG_PROTOCL: nothing reads this variable; did you mean SYSLOG_PROTOCOL, which is not set?"]
    assert warnings(SYSLOG_PROTOCL="tcp", SYSLOG_PROTOCOL="tls") == []


def test_a_variable_of_the_config_without_a_file_is_not_read_beside_a_file():
    assert warnings(SHIPPER_SINK_ADDRESS="h:1") == [
        "environment: SHIPPER_SINK_ADDRESS: this config does not read it; it is for an agent without a config file "
        "(docs/configuration.md)"]


@pytest.mark.parametrize("name", [
    "SHIPPER_LOGS", "SHIPPER_DEBUG", "SHIPPER_STATE_DIR", "HOME", "PATH", "SYSLOG_PROTOCOL", "SYSLOG_FACILITY_OF_MINE",
    "SHIPPER_SERVICE_HOST", "SHIPPER_SERVICE_PORT", "SHIPPER_SERVICE_PORT_METRICS", "SHIPPER_PORT", "SHIPPER_PORT_3903_TCP",
    "SHIPPER_PORT_3903_TCP_ADDR", "SHIPPER_METRICS_SERVICE_HOST",
])
def test_what_is_read_and_what_kubernetes_sets_for_a_service_is_no_slip(name: str):
    assert warnings(**{name: "/tmp/*.log"} if name == "SHIPPER_LOGS" else {name: "tcp"}) == []


def test_without_a_file_a_slip_is_told_too():
    environ = {"SHIPPER_SINK_ADDRESS": "h:1", "SHIPPER_SINK_PROTOCL": "tcp", "SHIPPER_FILES": "/var/log/*.log"}
    assert load(builtin.NAME, environ).warnings == [
        "environment: SHIPPER_SINK_PROTOCL: nothing reads this variable; did you mean SHIPPER_SINK_PROTOCOL?"]
