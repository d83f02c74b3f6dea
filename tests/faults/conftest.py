"""Prints the scorecard at the end, also when the rows ran in several processes."""

from __future__ import annotations

from typing import Any

import pytest

from .preload import Shims
from .scorecard import SEED, Record

_KEY = "scorecard"


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    def put(row: int, what: str, measured: str, control: str, bare: str = "") -> None:
        request.node.user_properties.append((_KEY, (row, what, measured, control, bare)))

    return put


@pytest.fixture(scope="session")
def shims(tmp_path_factory: pytest.TempPathFactory) -> Shims:
    return Shims(tmp_path_factory.mktemp("shims"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    lines = [
        (*value, "PASS" if outcome == "passed" else "FAIL")
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        for key, value in getattr(report, "user_properties", ())
        if key == _KEY
    ]
    if not lines:
        return
    terminalreporter.section("fault scorecard")
    for row, what, measured, control, bare, verdict in sorted(lines):
        terminalreporter.write_line(f"{verdict}  {row:>2}  {what:<36} {measured}")
        terminalreporter.write_line(f"          {'its control':<36} {control}")
        if bare:
            terminalreporter.write_line(f"          {'the bare driver':<36} {bare}")
    terminalreporter.write_line(f"seed {SEED}")
