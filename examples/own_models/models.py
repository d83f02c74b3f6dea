"""The application's models, with a base, enumerations, defaults and nested models of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, HttpUrl

__all__ = ["Bill", "Criterion", "Kind", "Link", "Note", "State", "Text", "WorkItem"]


class Record(BaseModel):
    """What this application expects of every model: nothing unknown, aliases for outside."""

    model_config = ConfigDict(
        extra="forbid",
        validate_assignment=True,
        alias_generator=lambda name: name.title().replace("_", ""),
        validate_by_name=True,
    )


class State(Enum):
    NEW = "created"
    GIVEN = "assigned"
    DOING = "in_progress"
    CHECKING = "in_review"
    DONE = "completed"


class Kind(Enum):
    READ = "research"
    WRITE = "development"


class Link(Record):
    target: HttpUrl
    title: str = ""


class Criterion(Record):
    """``weight`` is a field that Holdfast's `AcceptanceCriterion` does not have."""

    description: str
    met: bool = False
    weight: int = 1


class WorkItem(Record):
    """In place of `holdfast.Task`; what Holdfast has no column for begins at ``estimate``."""

    id: str
    title: str
    description: str = "to be described"
    type: Kind = Kind.WRITE
    project: str = "inbox"
    created_by: str = "me"
    assigned_to: str | None = None
    status: State = State.NEW
    acceptance_criteria: list[Criterion] = Field(default_factory=list)
    estimate: timedelta = timedelta(hours=1)
    links: list[Link] = Field(default_factory=list)


class Text(Record):
    type: str = "text"
    text: str
    language: str = "en"


class Note(Record):
    """In place of `holdfast.Message`."""

    id: UUID = Field(default_factory=uuid4)
    timestamp: datetime = Field(default_factory=lambda: datetime.now(UTC))
    sender: str
    to: str
    type: str = "announcement"
    channel: str
    parts: list[Text]
    pinned: bool = False


class Bill(Record):
    """In place of `holdfast.CostRecord`, with the exact ``cents`` of the invoice."""

    agent_id: str
    task_id: str
    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    timestamp: datetime
    cents: Decimal
