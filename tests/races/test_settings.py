"""Compare-and-swap: no change is built on what somebody else has replaced."""

from __future__ import annotations

from collections import Counter

from holdfast import PersistenceBackend
from tests.entities.samples import make

from .racers import PROCESSES, Race, Racer, winners

CALLS = 12
ROUNDS = 20


async def _count_up(racer: Racer) -> list[int]:
    """Adds one, `CALLS` times, each as often as it takes."""
    settings, added = racer.backend.settings, list[int]()
    while len(added) < CALLS:
        stored = await settings.get("n", "counter")
        assert stored is not None
        value = int(stored[0]) + 1
        stamp = f"{racer.name} {len(added)}"
        if await settings.set("n", "counter", str(value), stamp, expected_updated_at=stored[1]):
            added.append(value)
    return added


async def test_a_counter_of_swaps_loses_nothing(race: Race, backend: PersistenceBackend) -> None:
    await backend.settings.set("n", "counter", "0", "first")
    added = [value for values in await race(_count_up) for value in values]
    assert sorted(added) == list(range(1, PROCESSES * CALLS + 1))
    stored = await backend.settings.get("n", "counter")
    assert stored is not None
    assert stored[0] == str(PROCESSES * CALLS)


async def _come_first(racer: Racer) -> list[bool]:
    won = []
    for n in range(ROUNDS):
        await racer.meet()
        won.append(
            await racer.backend.settings.set("n", f"{n}", racer.name, "now", expected_updated_at="")
        )
    return won


async def test_one_inserts_where_nothing_is(race: Race, backend: PersistenceBackend) -> None:
    for n, winner in enumerate(winners(await race(_come_first))):
        assert await backend.settings.get("n", f"{n}") == (winner, "now")


KEYS = ("a", "b", "c")


async def _count_up_together(racer: Racer) -> list[int]:
    settings, added = racer.backend.settings, list[int]()
    while len(added) < CALLS:
        stored = await settings.get_namespace("n")
        values = {int(value) for _, value, _ in stored}
        assert len(values) == 1  # never one without the others
        value = values.pop() + 1
        stamp = f"{racer.name} {len(added)}"
        items = [("n", key, str(value), stamp) for key in KEYS]
        expected = {("n", key): updated_at for key, _, updated_at in stored}
        if racer.number % 2:
            items.reverse()  # in every order: nobody waits for the other for ever
        if await settings.set_many(items, expected_updated_at_map=expected):
            added.append(value)
    return added


async def test_several_are_swapped_together(race: Race, backend: PersistenceBackend) -> None:
    await backend.settings.set_many([("n", key, "0", "first") for key in KEYS])
    added = [value for values in await race(_count_up_together) for value in values]
    assert sorted(added) == list(range(1, PROCESSES * CALLS + 1))
    stored = await backend.settings.get_namespace("n")
    assert [value for _, value, _ in stored] == [str(PROCESSES * CALLS)] * len(KEYS)


async def _save_together(racer: Racer) -> None:
    items = [make("ApprovalItem", id=key, title=racer.name) for key in KEYS]
    if racer.number % 2:
        items.reverse()  # in every order
    for _ in range(ROUNDS):
        await racer.backend.approvals.save_many(items)


async def test_several_are_saved_together(race: Race, backend: PersistenceBackend) -> None:
    await race(_save_together)  # nobody waits for the other for ever
    stored = await backend.approvals.list_items()
    assert sorted(item.id for item in stored) == list(KEYS)
    assert len({item.title for item in stored}) == 1  # of one of them, whole


async def _take_all(racer: Racer) -> list[bool]:
    """Of 4 keys a process wants 2, one of them with a neighbour."""
    wanted = sorted({f"{racer.number // 2}", f"{(racer.number // 2 + racer.number % 2) % 4}"})
    won = []
    for n in range(ROUNDS):
        items = [(f"n{n}", key, racer.name, "now") for key in wanted]
        await racer.meet()
        won.append(
            await racer.backend.settings.set_many(
                items, expected_updated_at_map={item[:2]: "" for item in items}
            )
        )
    return won


async def test_who_loses_one_key_has_none(race: Race, backend: PersistenceBackend) -> None:
    answers = await race(_take_all)
    for n in range(ROUNDS):
        winners = {f"racer-{number}" for number, won in enumerate(answers) if won[n]}
        owners = Counter(value for _, value, _ in await backend.settings.get_namespace(f"n{n}"))
        assert winners == set(owners)
        assert all(owners[name] == 1 + int(name[-1]) % 2 for name in owners)


async def _clear(racer: Racer) -> list[str]:
    deleted = []
    for n in range(ROUNDS):
        await racer.meet()
        if racer.number % 2:
            keys = await racer.backend.settings.delete_namespace_returning_keys(f"n{n}")
        else:
            keys = tuple([key for key in KEYS if await racer.backend.settings.delete(f"n{n}", key)])
        deleted += [f"n{n} {key}" for key in keys]
    return deleted


async def test_what_is_deleted_is_answered_once(race: Race, backend: PersistenceBackend) -> None:
    names = [f"n{n}" for n in range(ROUNDS)]
    await backend.settings.set_many([(name, key, "", "now") for name in names for key in KEYS])
    deleted = sorted(key for keys in await race(_clear) for key in keys)
    assert deleted == sorted(f"{name} {key}" for name in names for key in KEYS)
