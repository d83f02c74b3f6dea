"""Where tickets lie."""

from __future__ import annotations

from holdfast.extending import (
    STRING,
    TABLES,
    JsonText,
    Timestamp,
    check,
    column,
    extra,
    foreign_key,
    index,
    new_metadata,
    nullable,
    store_table,
    unique,
)

__all__ = ["metadata", "tickets"]

metadata = new_metadata()

tickets = store_table(
    "helpdesk_tickets",
    column("id", STRING),
    column("reference", STRING),
    column("requester_id", STRING),
    column("subject", STRING),
    column("tags", JsonText()),
    column("status", STRING),
    nullable("solution", STRING),
    column("opened_at", Timestamp()),
    extra(),
    check("solution", "(status = 'solved') = (solution IS NOT NULL)"),
    unique("uq_helpdesk_tickets_reference", "reference"),
    foreign_key("requester_id", TABLES["users"].c.id, ondelete="CASCADE"),
    index("ix_helpdesk_tickets_opened_at", "opened_at", "id"),
    index("ix_helpdesk_tickets_status", "status", "opened_at", "id"),
    index("ix_helpdesk_tickets_requester_id", "requester_id", "opened_at", "id"),
    key=("id",),
    metadata=metadata,
)
