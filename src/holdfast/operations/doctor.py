"""A look at everything an operator should know, with what to do about it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

from holdfast import migrations
from holdfast.engines.protocol import Engine
from holdfast.engines.upkeep import Finding, Level
from holdfast.migrations import Chain
from holdfast.storage.reading import MalformedRow

__all__ = ["WORST_FIRST", "examine", "examine_rows", "worst_first"]

_SHOWN_ROWS = 20

#: Names of other people's tables in one line.
_SHOWN = 5

WORST_FIRST: tuple[Level, ...] = ("problem", "warning", "notice", "ok")


async def examine(engine: Engine, chains: Sequence[Chain], *, thorough: bool) -> Sequence[Finding]:
    found = [*await engine.inspect(thorough=thorough)]
    revisions = [(chain, await migrations.current(engine, chain)) for chain in chains]
    found += _revisions(revisions)
    if all(revision == chain.head() for chain, revision in revisions):
        found += _drift(await migrations.check(engine, chains))
    found += _beside(await migrations.beside(engine, chains))
    return worst_first(found)


def worst_first(found: Sequence[Finding]) -> Sequence[Finding]:
    return sorted(found, key=lambda finding: WORST_FIRST.index(finding.level))


async def examine_rows(rows: AsyncIterator[MalformedRow]) -> Sequence[Finding]:
    """A finding for each of the first rows that cannot be read."""
    found, count = [], 0
    async for row in rows:
        count += 1
        if count <= _SHOWN_ROWS:
            message = f"{row.key!r} of the tenant {row.tenant!r} cannot be read: {row.reason}"
            advice = "holdfast rows show, then rows put what was corrected, or rows quarantine"
            found.append(Finding("problem", row.table, message, advice))
    if count > _SHOWN_ROWS:
        more = f"{count - _SHOWN_ROWS} more cannot be read"
        found.append(Finding("problem", "rows", more, "holdfast rows check lists them all"))
    return found or [Finding("ok", "rows", "all can be read")]


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


def _beside(tables: Sequence[str]) -> Iterator[Finding]:
    if tables:
        shown = ", ".join(tables[:_SHOWN]) + (", ..." if len(tables) > _SHOWN else "")
        yield Finding(
            "notice",
            "schema",
            f"{len(tables)} tables beside Holdfast's are in the same place: {shown}",
            "a later release may want one of their names: a place of Holdfast's own is better",
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
