"""What the numbers should be. Printed beside them, never asserted: a budget is met on a quiet machine or it is not.

A new budget is one line. Pure.
"""
from __future__ import annotations

from typing import NamedTuple


class Budget(NamedTuple):
    """At most `limit`, or at least where `at_least`."""

    scenario: str
    case: str
    metric: str
    limit: float
    at_least: bool = False

    def verdict(self, value: float) -> str:
        """met, or by how much it was missed."""
        if value >= self.limit if self.at_least else value <= self.limit:
            return "met"
        by = self.limit / value if self.at_least and value else value / self.limit if self.limit else float("inf")
        return f"missed {by:.2f}x" if by < 100 else "missed"

    def text(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"


BUDGETS = tuple(
    budget for case in ("20 files", "1 file", "octet-counted") for budget in (
        Budget("catchup", case, "klines_s", 600, at_least=True), Budget("catchup", case, "cpu_s_per_m", 1.7),
        Budget("catchup", case, "rss_mb", 80), Budget("catchup", case, "missing", 0), Budget("catchup", case, "repeated", 0),
        Budget("catchup", case, "disordered", 0),
    )
) + tuple(
    budget for case in ("50 files", "20 + 300 quiet") for budget in (
        Budget("steady", case, "cores", 0.08), Budget("steady", case, "rss_mb", 55), Budget("steady", case, "p99_ms", 100),
        Budget("steady", case, "missing", 0),
    )
) + (
    Budget("idle", "1,000 files", "core_percent", 0.2),
    Budget("idle", "5,000 files", "core_percent", 0.2),
    Budget("spread", "5,000 files", "cpu_ratio_to_10_files", 1.2),
    Budget("spread", "5,000 files", "missing", 0),
    Budget("start", "1,000 files", "first_line_s", 0.6),
    Budget("processing", "multiline", "cpu_ratio_to_off", 1.3),
    Budget("processing", "parse json", "cpu_ratio_to_off", 2.0),
    Budget("processing", "redact", "cpu_ratio_to_off", 2.5),
    Budget("processing", "routing", "cpu_ratio_to_off", 1.02),
) + tuple(
    budget for case, klines_s in (("plain", 400), ("isal", 300), ("200 ms", 100), ("200 ms isal", 100)) for budget in (
        Budget("http", case, "klines_s", klines_s, at_least=True), Budget("http", case, "rss_mb", 80),
        Budget("http", case, "missing", 0), Budget("http", case, "repeated", 0),
    )
) + (
    Budget("gcs", "isal", "klines_s", 250, at_least=True), Budget("gcs", "isal", "rss_mb", 75),
    Budget("gcs", "isal", "missing", 0), Budget("gcs", "isal", "repeated", 0), Budget("gcs", "isal", "wrong", 0),
    Budget("bigquery", "storage_write", "rss_mb", 100), Budget("bigquery", "storage_write", "missing", 0),
    Budget("bigquery", "storage_write", "repeated", 0), Budget("bigquery", "storage_write", "wrong", 0),
)


def budget_for(scenario: str, case: str, metric: str) -> Budget | None:
    """The budget of ours, or None."""
    for budget in BUDGETS:
        if (budget.scenario, budget.case, budget.metric) == (scenario, case, metric):
            return budget
    return None
