"""R1 to R3: what a new config changes, and that a bad one changes nothing."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from shipper.agent.reload import Changes, Difference, Reloader, changes, summary
from shipper.config.types import Admin, BufferSettings, Config, ContainersSource, FilesSource, Log, SinkCommon, SinkEntry
from shipper.config.units import Bytes, Seconds
from shipper.errors import Fatal, Usage
from shipper.telemetry import Telemetry


def sink(name: str, address: str = "a:1", **common: Any) -> SinkEntry:
    return SinkEntry(name=name, type="syslog", common=SinkCommon(**common), spec=None, config=(address,))


OLD = Config(
    node="n1", state_dir="/s", sources={"containers": ContainersSource()},
    sinks={"central": sink("central"), "archive": sink("archive")},
)
alter = msgspec.structs.replace


def test_the_same_config_changes_nothing() -> None:
    found = changes(OLD, alter(OLD))
    assert not found
    assert found == Changes(effective=OLD)


def test_sinks_and_sources_are_told_apart_by_name() -> None:
    new = alter(OLD, sinks={"central": sink("central", "b:1"), "extra": sink("extra")},
                sources={"containers": ContainersSource(), "host": FilesSource(include=["/x"])})
    found = changes(OLD, new)
    assert found.sinks == Difference(added=("extra",), removed=("archive",), changed=("central",))
    assert found.sources == Difference(added=("host",))
    assert found.effective == new
    assert summary(found) == "sources: +host; sinks: +extra -archive ~central"


def test_a_common_setting_of_a_sink_is_a_change_of_that_sink() -> None:
    new = alter(OLD, sinks={**OLD.sinks, "central": sink("central", when_full="drop_oldest")})
    assert changes(OLD, new).sinks == Difference(changed=("central",))


def test_settings_that_need_no_restart_are_applied() -> None:
    found = changes(OLD, alter(OLD, shutdown_grace=Seconds(1.0), log=Log(level="debug")))
    assert found.settings == ("log.level", "shutdown_grace")
    assert found.needs_restart == ()
    assert found.effective.log.level == "debug"


@pytest.mark.parametrize(("new", "keys"), [
    (alter(OLD, node="n2"), ("node",)),
    (alter(OLD, state_dir="/other"), ("state_dir",)),
    (alter(OLD, admin=Admin(listen=None, expose_status=True)), ("admin.listen", "admin.expose_status")),
    (alter(OLD, log=Log(format="text")), ("log.format",)),
    (alter(OLD, buffer=BufferSettings(max_size=Bytes(1), segment_size=Bytes(2))), ("buffer.max_size", "buffer.segment_size")),
], ids=lambda value: ",".join(value) if isinstance(value, tuple) else "")
def test_what_only_a_restart_can_change_keeps_its_old_value_and_is_named(new: Config, keys: tuple[str, ...]) -> None:
    found = changes(OLD, new)
    assert found.needs_restart == keys
    assert found.effective == OLD
    assert not found


class FakePipeline:
    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.applied = error, list[Config]()

    async def apply(self, config: Config, found: Changes) -> None:
        if self.error is not None:
            raise self.error
        self.applied.append(config)


def reloader(load: Callable[[], Config], pipeline: FakePipeline) -> tuple[Reloader, Telemetry]:
    telemetry = Telemetry()
    return Reloader(OLD, load, pipeline, telemetry, now_s=lambda: 5.0), telemetry  # type: ignore[arg-type]


NEW = alter(OLD, sinks={"central": OLD.sinks["central"]}, node="n2")


async def test_a_good_config_is_applied_with_the_old_values_of_what_needs_a_restart() -> None:
    pipeline = FakePipeline()
    under_test, telemetry = reloader(lambda: NEW, pipeline)
    result = await under_test.reload("SIGHUP")
    assert (result.outcome, result.summary, result.needs_restart) == ("applied", "sinks: -archive", ("node",))
    assert pipeline.applied == [alter(NEW, node="n1")]
    assert under_test.config == alter(NEW, node="n1")
    assert telemetry.value("shipper_reloads_total", "applied") == 1
    assert telemetry.lines == [
        ("info", "reload_applied", {"cause": "SIGHUP", "changes": "sinks: -archive", "needs_restart": ["node"]})]


async def test_a_wrong_config_keeps_the_old_one_and_says_why() -> None:
    def load() -> Config:
        raise Usage("c.yaml:3:5: sinks.central.adress: unknown key; did you mean address?")

    pipeline = FakePipeline()
    under_test, telemetry = reloader(load, pipeline)
    result = await under_test.reload("c.yaml changed")
    assert result.outcome == "refused"
    assert result.why == "c.yaml:3:5: sinks.central.adress: unknown key; did you mean address?"
    assert under_test.config is OLD and pipeline.applied == []
    assert telemetry.lines[0][:2] == ("error", "reload_refused")
    assert [value for value in telemetry.lines[0][2].values() if value == result.why] == [result.why]   # not twice
    await under_test.reload("c.yaml changed")
    assert len(telemetry.lines) == 2                      # and again, however soon


async def test_a_pipeline_that_refuses_keeps_the_old_config() -> None:
    under_test, telemetry = reloader(lambda: NEW, FakePipeline(Fatal("no room; free some")))
    assert (await under_test.reload("SIGHUP")).why == "no room; free some"
    assert under_test.config is OLD
    assert telemetry.value("shipper_reloads_total", "refused") == 1


async def test_an_unexpected_error_is_counted_and_its_text_is_not_said() -> None:
    under_test, telemetry = reloader(lambda: NEW, FakePipeline(RuntimeError("hunter2")))
    result = await under_test.reload("SIGHUP")
    assert result.outcome == "failed"
    assert result.why.startswith("unexpected RuntimeError in test_reload.py:")
    assert "hunter2" not in repr(telemetry.lines)
    assert telemetry.value("shipper_errors_total", "reload") == 1
    assert under_test.config is OLD


async def test_the_same_config_again_is_not_applied() -> None:
    pipeline = FakePipeline()
    under_test, _ = reloader(lambda: alter(OLD), pipeline)
    assert (await under_test.reload("SIGHUP")).outcome == "unchanged"
    assert pipeline.applied == []
