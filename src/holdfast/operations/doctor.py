"""A look at everything an operator should know, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast import migrations
from holdfast.engines.base import Engine
from holdfast.engines.upkeep import Finding, Level
from holdfast.migrations import Chain

__all__ = ["WORST_FIRST", "examine"]

WORST_FIRST: tuple[Level, ...] = ("problem", "warning", "notice", "ok")


async def examine(engine: Engine, chains: Sequence[Chain], *, thorough: bool) -> Sequence[Finding]:
    found = [*await engine.inspect(thorough=thorough)]
    revisions = [(chain, await migrations.current(engine, chain)) for chain in chains]
    found += _revisions(revisions)
    if all(revision == chain.head() for chain, revision in revisions):
        found += _drift(await migrations.check(engine, chains))
    return sorted(found, key=lambda finding: WORST_FIRST.index(finding.level))


def _revisions(revisions: Sequence[tuple[Chain, str | None]]) -> Iterator[Finding]:
    for chain, revision in revisions:
        subject, head = f"schema of {chain.name}", chain.head()
        if revision == head:
            yield Finding("ok", subject, f"at its newest revision, {head}")
        elif revision is not None and revision not in {step.revision for step in chain.history()}:
            yield Finding(
                "problem",
                subject,
                f"at revision {revision}, which this release does not know",
                f"upgrade {chain.name} here: a newer release migrated the database",
            )
        else:
            yield Finding(
                "problem",
                subject,
                f"at revision {revision or 'none'}, the newest is {head}",
                "run holdfast migrate",
            )


def _drift(differences: Sequence[str]) -> Iterator[Finding]:
    for difference in differences:
        yield Finding(
            "problem",
            "schema",
            difference,
            "somebody changed the schema by hand: put it back as holdfast migrate --sql says",
        )
    if not differences:
        yield Finding("ok", "schema", "tables, columns and indexes are as this release wants them")
