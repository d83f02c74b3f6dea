"""Alembic's entry: it runs revisions on the connection that the runner hands over."""

from __future__ import annotations

from typing import Any

from alembic import context
from alembic.autogenerate.api import AutogenContext

from holdfast.migrations.chain import Chain
from holdfast.storage.types import CodePointText, JsonText, Timestamp


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | bool:
    """Our column types by name; everything else as Alembic does it."""
    if kind == "type" and isinstance(item, CodePointText | JsonText | Timestamp):
        autogen.imports.add("from holdfast.storage import types")
        return f"types.{type(item).__name__}()"
    return False


attributes = context.config.attributes
chain: Chain = attributes["chain"]


def is_of_this_chain(name: str | None, kind: str, parents: Any) -> bool:
    """Whether a table of the database is compared when a revision is written."""
    return kind != "table" or name not in attributes.get("foreign", ())


options: dict[str, Any] = {
    "target_metadata": chain.metadata,
    "version_table": chain.version_table,
    "include_name": is_of_this_chain,
    "render_item": render_item,
    "compare_type": True,
    # SQLite's DDL is transactional, only Python's driver used to get in the way; ours does not.
    "transactional_ddl": True,
}
if context.is_offline_mode():
    context.configure(dialect_name=attributes["dialect"], literal_binds=True, **options)
    with context.begin_transaction():
        context.run_migrations()
else:
    context.configure(connection=attributes["connection"], **options)
    with context.begin_transaction():
        context.run_migrations()
