"""What state a sink is in (T1, T2 of trouble.py)."""
from __future__ import annotations

import pytest

from shipper.deliver.trouble import SinkState, Troubles
from shipper.errors import Fatal, Rejected, Retryable
from shipper.telemetry import Telemetry

from .support import START_NS, TurnedClock


@pytest.fixture
def trouble() -> Troubles:
    return Troubles("central", Telemetry(), TurnedClock())


def test_t1_the_state_is_that_of_the_worst_trouble_there_is(trouble: Troubles) -> None:
    assert trouble.state is SinkState.OK
    seen = []
    for about, *what in (("a", Retryable("503")), ("b", Rejected("400"), SinkState.REFUSING), ("c", Fatal("401"))):
        trouble.note(about, *what)
        seen.append(trouble.state)
    for about in ("c", "b", "a"):
        trouble.clear(about)
        seen.append(trouble.state)
    assert [state.value for state in seen] == ["retrying", "refusing", "failed", "refusing", "retrying", "ok"]
    trouble.stopped = True
    assert trouble.state is SinkState.STOPPED


def test_t2_one_of_two_that_is_well_again_ends_no_trouble(trouble: Troubles) -> None:
    """`degraded` was taken back, and the log said that the sink was well, with the other request still refused."""
    telemetry = trouble.telemetry
    trouble.note("one", Retryable("503"))
    trouble.note("other", Retryable("504"))
    trouble.clear("one")
    assert "sink:central" in telemetry.degraded_since
    assert [event for _, event, _ in telemetry.lines] == ["degraded"]
    trouble.clear("unknown")
    trouble.clear("other")
    assert not telemetry.degraded_since
    assert [event for _, event, _ in telemetry.lines] == ["degraded", "recovered"]


def test_t2_what_ends_because_the_agent_stops_is_not_called_well(trouble: Troubles) -> None:
    trouble.note("one", Retryable("503"))
    trouble.stopping = True
    trouble.clear("one")
    assert [event for _, event, _ in trouble.telemetry.lines] == ["degraded"]


def test_the_next_try_is_the_first_of_all_and_none_where_nothing_waits(trouble: Troubles) -> None:
    trouble.note("one", Retryable("503"), pause_s=30.0)
    trouble.note("other", Retryable("503"), pause_s=10.0)
    assert trouble.next_try_s == 10.0
    trouble.clear("other")
    assert trouble.next_try_s == 30.0
    trouble.clear("one")
    assert trouble.next_try_s is None


def test_the_last_error_stays_with_its_time_and_without_secrets(trouble: Troubles) -> None:
    trouble.telemetry.keep_secret("hunter2hunter2")
    trouble.note("one", Retryable("401: token hunter2hunter2"))
    trouble.clear("one")
    assert "hunter2" not in trouble.last_error and trouble.last_error.startswith("401: token")
    assert trouble.last_error_ns == START_NS
