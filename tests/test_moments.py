"""What orders saves: moments that grow, whatever the clock does, and across forks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from holdfast.storage import moments
from holdfast.storage.moments import next_moment, time_ordered_id

HOUR = 3_600 * 10**9


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test makes of the clock is forgotten behind it."""
    monkeypatch.setattr(moments, "_last", moments._last)
    monkeypatch.setattr(moments, "_ahead", moments._ahead)


def test_moments_are_the_time_and_grow() -> None:
    before = time.time_ns()
    found = [next_moment() for _ in range(10_000)]
    assert found == sorted(set(found))
    assert before - HOUR < found[0] <= found[-1] < time.time_ns() + HOUR
    keys = [time_ordered_id() for _ in range(100)]
    assert keys == sorted(keys)
    assert {len(key) for key in keys} == {32}


def test_a_clock_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    now, steady = time.time_ns() + HOUR, time.monotonic_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    monkeypatch.setattr(time, "monotonic_ns", lambda: steady)
    first = next_moment()
    assert [next_moment() - first for _ in range(3)] == [1, 2, 3]


def test_a_clock_that_is_set_back_and_forth(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": time.time_ns() + HOUR, "steady": time.monotonic_ns()}
    monkeypatch.setattr(time, "time_ns", lambda: clock["now"])
    monkeypatch.setattr(time, "monotonic_ns", lambda: clock["steady"])
    first = next_moment()
    clock["now"] -= 2 * HOUR
    clock["steady"] += 1_000
    assert next_moment() == first + 1_000  # as fast as time goes by
    clock["now"] += 4 * HOUR
    assert next_moment() == clock["now"]
    clock["now"] += HOUR  # the machine slept: the steady clock stood still
    assert next_moment() == clock["now"]


def test_threads_share_them() -> None:
    found: list[list[int]] = [[] for _ in range(4)]

    def take(mine: list[int]) -> None:
        mine.extend(next_moment() for _ in range(5_000))

    threads = [threading.Thread(target=take, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in found)
    assert len({moment for mine in found for moment in mine}) == 4 * 5_000


class Forked:
    """A process that answers with a moment whenever it is asked."""

    def __init__(self) -> None:
        asked, self._ask = os.pipe()
        self._answers, answer = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            while os.read(asked, 1) != b".":
                os.write(answer, b"%20d" % next_moment())
            os._exit(0)
        os.close(asked)
        os.close(answer)

    def next_moment(self) -> int:
        os.write(self._ask, b"?")
        return int(os.read(self._answers, 20))

    def end(self) -> None:
        os.write(self._ask, b".")
        os.waitpid(self._pid, 0)
        os.close(self._ask)
        os.close(self._answers)


@pytest.fixture
def set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock was ahead for an hour, and stands still since then."""
    now = time.time_ns()
    monkeypatch.setattr(moments, "_ahead", moments._ahead + HOUR)
    monkeypatch.setattr(time, "time_ns", lambda: now)


@pytest.fixture
def forked(set_back: None) -> Iterator[list[Forked]]:
    # The lock is taken meanwhile again and again: a fork must not leave it so.
    stop = threading.Event()

    def take() -> None:
        while not stop.is_set():
            next_moment()

    thread = threading.Thread(target=take)
    thread.start()
    found = [Forked() for _ in range(3)]
    stop.set()
    thread.join()
    yield found
    for one in found:
        one.end()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forks_of_a_clock_that_was_set_back_stay_in_order(forked: list[Forked]) -> None:
    found = [one.next_moment() for _ in range(200) for one in forked]
    assert found == sorted(set(found))
