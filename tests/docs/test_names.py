"""What documentation lists is all there is."""

from __future__ import annotations

from pathlib import Path

from holdfast import PersistenceBackend
from holdfast.config.models import PostgresConfig, SQLiteConfig

DOCS = Path(__file__).parents[2] / "docs"


async def test_every_metric(backend: PersistenceBackend) -> None:
    await backend.set_setting("a", "b")
    page = (DOCS / "observability.md").read_text(encoding="utf-8")
    lines = backend.stats().prometheus().splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert len(names) > 15
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def test_every_field_of_the_configuration() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    fields = {*PostgresConfig.model_fields, *SQLiteConfig.model_fields}
    assert [name for name in sorted(fields) if f"`{name}`" not in page] == []
