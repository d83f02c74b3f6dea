"""Messages between agents."""

from __future__ import annotations

import operator
from typing import Protocol, runtime_checkable

from holdfast import validation
from holdfast.entities import Message
from holdfast.schema.messages import messages
from holdfast.storage.listing import EntityListing
from holdfast.storage.records import AppendOnly
from holdfast.storage.repository import Repository, provide

__all__ = ["MessageRepositories", "MessageRepository"]


@runtime_checkable
class MessageRepository(Protocol):
    """Messages by ``id``, written once."""

    async def save(self, message: Message) -> None:
        """Insert a message; `DuplicateRecordError` if the id is taken."""

    async def get_history(
        self, channel: str, *, limit: int | None = None, after: Message | str | None = None
    ) -> tuple[Message, ...]:
        """Return the messages of a channel, newest first.

        Of equal times the last saved comes first. ``limit=None`` returns all. ``after`` is the last
        message seen, or its id.
        """


class MessageRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def messages(self) -> MessageRepository:
        """Messages between agents, written once."""
        return provide(self, _Messages)


_MESSAGES = AppendOnly(messages, Message)
_HISTORY = EntityListing(
    "messages.get_history",
    _MESSAGES.mapper,
    order=("timestamp", "saved_order", "id"),
    descending=True,
    filters={"channel": ("channel", operator.eq)},
)


class _Messages(Repository, MessageRepository):
    table = messages

    async def save(self, message: Message) -> None:
        await _MESSAGES.save(self, message)

    async def get_history(
        self, channel: str, *, limit: int | None = None, after: Message | str | None = None
    ) -> tuple[Message, ...]:
        filters = {"channel": validation.not_blank(channel, f"{_HISTORY.name}: channel")}
        return await _HISTORY.fetch(self, filters, limit=limit, after=after)
