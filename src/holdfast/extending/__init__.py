"""What an application needs to store entities of its own beside Holdfast's.

An entity (`Entity`), its table (`store_table` in a `new_metadata`), a repository (`Repository`,
built from `Keyed` and its like) and an `Extension` that holds them together with their migrations::

    backend = create_backend(url, extensions=[HELPDESK])
    await backend.migrate()
    await backend.repository(Tickets).save(ticket)

A repository's methods find ``self._tenant`` and ``self._session``, on which statements run; the
shapes take the repository itself. `TABLES` are Holdfast's own, for foreign keys.
"""

from __future__ import annotations

from holdfast import validation
from holdfast.entities.base import (
    Count,
    Deadline,
    Entity,
    Moment,
    NotBlankStr,
    Sha256,
    Share,
    new_id,
    utc_now,
)
from holdfast.extending.extension import Extension
from holdfast.schema import metadata as _metadata
from holdfast.storage.listing import EntityListing, Listing
from holdfast.storage.mapping import Mapper
from holdfast.storage.moments import next_moment, time_ordered_id
from holdfast.storage.records import AppendOnly, Keyed, Records
from holdfast.storage.repository import Repository
from holdfast.storage.retention import Retention
from holdfast.storage.session import Row, Session, Statement
from holdfast.storage.statements import (
    delete_by,
    insert,
    insert_if_absent,
    parameter,
    select_by,
    transition,
    update_by,
    upsert,
    where_equal,
)
from holdfast.storage.tables import (
    TENANT,
    check,
    column,
    extra,
    foreign_key,
    index,
    new_metadata,
    nullable,
    saved_order,
    store_table,
    unique,
    unique_index,
)
from holdfast.storage.types import FLAG, INTEGER, REAL, STRING, JsonText, Timestamp

__all__ = [
    "FLAG",
    "INTEGER",
    "REAL",
    "STRING",
    "TABLES",
    "TENANT",
    "AppendOnly",
    "Count",
    "Deadline",
    "Entity",
    "EntityListing",
    "Extension",
    "JsonText",
    "Keyed",
    "Listing",
    "Mapper",
    "Moment",
    "NotBlankStr",
    "Records",
    "Repository",
    "Retention",
    "Row",
    "Session",
    "Sha256",
    "Share",
    "Statement",
    "Timestamp",
    "check",
    "column",
    "delete_by",
    "extra",
    "foreign_key",
    "index",
    "insert",
    "insert_if_absent",
    "new_id",
    "new_metadata",
    "next_moment",
    "nullable",
    "parameter",
    "saved_order",
    "select_by",
    "store_table",
    "time_ordered_id",
    "transition",
    "unique",
    "unique_index",
    "update_by",
    "upsert",
    "utc_now",
    "validation",
    "where_equal",
]

#: Holdfast's own tables by name.
TABLES = _metadata.tables
