"""What agents say to each other."""

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
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class TextPart(Entity):
    type: Literal["text"] = "text"
    text: NotBlankStr


class DataPart(JsonHolder):
    """Structured data: a deep, read-only copy of what was given, lists as tuples."""

    type: Literal["data"] = "data"
    data: JsonObject


class FilePart(Entity):
    type: Literal["file"] = "file"
    uri: NotBlankStr
    mime_type: NotBlankStr | None = None


class UriPart(Entity):
    type: Literal["uri"] = "uri"
    uri: NotBlankStr


Part = Annotated[TextPart | DataPart | FilePart | UriPart, Field(discriminator="type")]


class MessageMetadata(Entity):
    """What a message refers to; ``extra`` holds further pairs, each key once."""

    task_id: NotBlankStr | None = None
    project_id: NotBlankStr | None = None
    tokens_used: Count | None = None
    cost_usd: Annotated[float, Field(ge=0)] | None = None
    extra: tuple[tuple[str, str], ...] = ()

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

    id: UUID = Field(default_factory=uuid4)
    timestamp: AwareDatetime
    sender: NotBlankStr = Field(validation_alias="from")
    to: NotBlankStr
    type: MessageType
    priority: MessagePriority = MessagePriority.NORMAL
    channel: NotBlankStr
    parts: tuple[Part, ...] = Field(min_length=1)
    metadata: MessageMetadata = Field(default_factory=MessageMetadata)

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @property
    def text(self) -> str:
        """The text of the first `TextPart`, or nothing."""
        return next((part.text for part in self.parts if isinstance(part, TextPart)), "")
