"""packaging/linuxkit: the entry has only keys that LinuxKit knows, its environment is a config, its state is on the disk."""
from __future__ import annotations

from typing import Any

import pytest
import yaml

from shipper.config import builtin
from shipper.config.loader import load
from tests.packaging.manifests import ROOT

KNOWN = {
    "name", "image", "command", "env", "net", "uid", "gid", "readonly", "noNewPrivileges", "capabilities", "binds", "runtime",
    "resources", "tmpfs", "pid",
}


@pytest.fixture
def whole() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "packaging/linuxkit/shipper.yml").read_text())
    return found


@pytest.fixture
def service(whole: dict[str, Any]) -> dict[str, Any]:
    (found,) = [each for each in whole["services"] if each["name"] == "shipper"]
    return found


def test_its_environment_is_a_config(service: dict[str, Any]):
    environ = dict(each.split("=", 1) for each in service["env"])
    loaded = load(builtin.NAME, environ)
    assert loaded.warnings == [] and loaded.config.state_dir == "/var/lib/shipper"
    assert set(loaded.config.sources) == {"containers", "files"}


def test_it_has_only_keys_that_linuxkit_knows(whole: dict[str, Any], service: dict[str, Any]):
    assert set(whole) == {"kernel", "init", "onboot", "services"} and set(service) <= KNOWN


def test_the_state_directory_is_on_the_disk_and_what_is_bound_exists(whole: dict[str, Any], service: dict[str, Any]):
    assert [each["name"] for each in whole["onboot"]] == ["format", "mount"]
    assert whole["onboot"][1]["command"][-1] == "/var/lib"
    binds = [each.split(":") for each in service["binds"]]
    assert ["/var/lib/shipper", "/var/lib/shipper"] in binds and ["/var/log", "/var/log", "ro,rslave"] in binds
    assert {source for source, *_ in binds if source.startswith("/var/")} <= set(service["runtime"]["mkdir"])


def test_it_may_read_logs_and_nothing_more(service: dict[str, Any]):
    assert service["capabilities"] == ["CAP_DAC_READ_SEARCH"]
    assert service["readonly"] is True and service["noNewPrivileges"] is True
