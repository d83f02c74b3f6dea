"""Messages between agents."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID, uuid4

from pydantic import (
    AwareDatetime,
    ConfigDict,
    Field,
    computed_field,
    model_validator,
)

from holdfast.entities.base import Count, Entity, NotBlankStr
from holdfast.entities.json import JsonHolder, JsonObject

__all__ = [
    "DataPart",
    "FilePart",
    "Message",
    "MessageMetadata",
    "MessagePriority",
    "MessageType",
    "Part",
    "TextPart",
    "UriPart",
]


class MessageType(StrEnum):
    """The purpose of a message."""

    TASK_UPDATE = "task_update"
    QUESTION = "question"
    ANNOUNCEMENT = "announcement"
    REVIEW_REQUEST = "review_request"
    APPROVAL = "approval"
    DELEGATION = "delegation"
    STATUS_REPORT = "status_report"
    ESCALATION = "escalation"
    MEETING_CONTRIBUTION = "meeting_contribution"
    HR_NOTIFICATION = "hr_notification"


class MessagePriority(StrEnum):
    """Urgency of a message, from the lowest to the highest."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class TextPart(Entity):
    """A part of a message in plain text."""

    type: Literal["text"] = Field(
        default="text", description="Always ``text``; tells the kinds of parts apart"
    )
    text: NotBlankStr = Field(description="The text, kept as given")


class DataPart(JsonHolder):
    """A part of a message with structured data.

    The data are a deep, read-only copy of what was given, with tuples for lists.
    """

    type: Literal["data"] = Field(
        default="data", description="Always ``data``; tells the kinds of parts apart"
    )
    data: JsonObject = Field(description="JSON object; read-only, also deep within")


class FilePart(Entity):
    """A part of a message that refers to a file."""

    type: Literal["file"] = Field(
        default="file", description="Always ``file``; tells the kinds of parts apart"
    )
    uri: NotBlankStr = Field(description="Where the file is to be found; never opened by Holdfast")
    mime_type: NotBlankStr | None = Field(
        default=None, description="Media type such as ``text/plain``; None if unknown"
    )


class UriPart(Entity):
    """A part of a message that refers to a resource."""

    type: Literal["uri"] = Field(
        default="uri", description="Always ``uri``; tells the kinds of parts apart"
    )
    uri: NotBlankStr = Field(description="Address of the resource; never opened by Holdfast")


Part = Annotated[TextPart | DataPart | FilePart | UriPart, Field(discriminator="type")]


class MessageMetadata(Entity):
    """What a message refers to and what it cost."""

    task_id: NotBlankStr | None = Field(
        default=None, description="Id of the task that the message is about; None if about none"
    )
    project_id: NotBlankStr | None = Field(
        default=None, description="Id of the project that the message is about; None if about none"
    )
    tokens_used: Count | None = Field(
        default=None, description="Tokens spent on writing the message; None if not counted"
    )
    cost_usd: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Cost of writing the message in US dollars; None if not counted"
    )
    extra: tuple[tuple[str, str], ...] = Field(
        default=(),
        description="Further pairs of key and value, in order; keys are unique and not blank",
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.extra:
            keys = [key for key, _ in self.extra]
            if any(not key.strip() for key in keys):
                raise ValueError("extra must not have a blank key")
            if len(set(keys)) != len(keys):
                raise ValueError("extra must not have a key twice")
        return self


class Message(Entity):
    """A message on a channel. ``sender`` may also be given as ``from``."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    id: UUID = Field(default_factory=uuid4, description="Key; a random UUID if not given")
    timestamp: AwareDatetime = Field(
        description="When the message was sent; orders the history of its channel"
    )
    sender: NotBlankStr = Field(
        validation_alias="from",
        description="Id of the agent that sent it; also accepted under the name ``from``",
    )
    to: NotBlankStr = Field(description="Agent or channel that it is addressed to")
    type: MessageType = Field(description="The purpose of the message")
    priority: MessagePriority = Field(
        default=MessagePriority.NORMAL,
        description="Urgency; does not change the order of the history",
    )
    channel: NotBlankStr = Field(description="Name of the channel whose history holds the message")
    parts: tuple[Part, ...] = Field(min_length=1, description="Content in order; at least one part")
    metadata: MessageMetadata = Field(
        default_factory=MessageMetadata, description="What the message refers to and what it cost"
    )

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @property
    def text(self) -> str:
        """The text of the first `TextPart`; empty if there is none. Not stored."""
        return next((part.text for part in self.parts if isinstance(part, TextPart)), "")
