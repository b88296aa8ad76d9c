"""Going back to the cursor (RS1, RS2 of deliver/resending.py)."""
from __future__ import annotations

import pytest

from shipper.deliver.resending import Resending
from shipper.deliver.retry import Backoff
from shipper.errors import Fatal, Retryable


@pytest.fixture
def resending() -> Resending:
    return Resending(Backoff(), lambda low, high: high)


def gone_back(resending: Resending, why: Exception) -> float:
    resending.asked = why
    delay_s = resending.delay_s()
    resending.went()
    return delay_s


def test_rs1_the_first_goes_at_once_and_each_further_one_waits_longer_until_something_is_confirmed(resending: Resending) -> None:
    why = Retryable("the connection ended")
    assert [gone_back(resending, why) for _ in range(5)] == [0.0, 0.5, 1.0, 2.0, 4.0]
    resending.confirmed()
    assert [gone_back(resending, why) for _ in range(2)] == [0.0, 0.5]


def test_rs1_what_the_far_side_asks_for_and_what_a_human_has_to_mend_count(resending: Resending) -> None:
    gone_back(resending, Retryable("at first"))
    assert gone_back(resending, Retryable("429", retry_after_s=7.0)) == 7.0
    assert gone_back(resending, Fatal("no such table")) == 60.0


def test_rs2_what_is_due_stays_due_until_it_went(resending: Resending) -> None:
    assert not resending.due
    resending.asked = Retryable("the connection ended")
    assert resending.due
    resending.went()
    resending.short = True
    assert resending.due and resending.asked is None
    resending.asked = Retryable("503")
    resending.delay_s()
    assert resending.due
    resending.went()
    assert not resending.due
