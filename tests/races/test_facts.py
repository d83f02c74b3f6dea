"""Facts that many publish and retract at once: the log tells one story, and it is the true one."""

from __future__ import annotations

from itertools import pairwise

from holdfast import PersistenceBackend
from holdfast.entities import OrgFactAuthor
from tests.entities.samples import make

from .racers import Race, Racer

CALLS = 16


async def _publish_and_retract(racer: Racer) -> tuple[list[str], int]:
    """The contents published, and how often something was there to retract."""
    facts, published, retracted = racer.backend.org_facts, [], 0
    for n in range(CALLS):
        if (n + racer.number) % 3 == 0:
            author = OrgFactAuthor(agent_id=racer.name, seniority="senior")
            retracted += await facts.delete("f", author=author)
        else:
            published.append(f"{racer.name}/{n}")
            await facts.save(make("OrgFact", id="f", content=published[-1]))
    return published, retracted


async def test_the_log_of_a_fact_is_its_history(race: Race, backend: PersistenceBackend) -> None:
    facts = backend.org_facts
    answers = await race(_publish_and_retract)
    log = await facts.get_operation_log("f")
    assert [entry.version for entry in log] == list(range(1, len(log) + 1))
    kinds = [entry.operation_type for entry in log]
    assert kinds[0] == "PUBLISH"
    assert ("RETRACT", "RETRACT") not in pairwise(kinds)
    assert all(a.timestamp <= b.timestamp for a, b in pairwise(log))

    published = [entry.content for entry in log if entry.operation_type == "PUBLISH"]
    assert sorted(map(str, published)) == sorted(c for contents, _ in answers for c in contents)
    for number, (contents, _) in enumerate(answers):  # each process's own in its own order
        mine = [c for c in published if c is not None and c.startswith(f"racer-{number}/")]
        assert mine == contents
    assert kinds.count("RETRACT") == sum(retracted for _, retracted in answers) > 0

    in_force = await facts.get("f")
    assert (None if in_force is None else in_force.content) == log[-1].content
    for entry in log[::10]:
        (then,) = await facts.snapshot_at(entry.timestamp)
        assert then.version == max(e.version for e in log if e.timestamp <= entry.timestamp)
    (now,) = await facts.snapshot_at(log[-1].timestamp)
    assert now.version == len(log)
    assert (now.retracted_at is None) == (in_force is not None)
