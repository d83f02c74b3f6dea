"""Numbered snapshots of configured entities."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from holdfast.entities.base import Count, Entity, NotBlankStr, Sha256
from holdfast.errors import InvalidArgumentError
from holdfast.validation.values import plain

__all__ = ["VersionSnapshot", "compute_content_hash"]

T = TypeVar("T", bound=BaseModel)


def _at_zero(value: AwareDatetime) -> AwareDatetime:
    if value.utcoffset() != timedelta(0):
        raise ValueError("must be in UTC")
    return value


class VersionSnapshot(Entity, Generic[T]):
    """What an entity was when its version was saved."""

    entity_id: NotBlankStr = Field(description="Id of the entity; first part of the key")
    version: Annotated[Count, Field(ge=1)] = Field(
        description="Number of the version, from 1; second part of the key"
    )
    content_hash: Sha256 = Field(
        description="SHA-256 of the content in lower-case hex, as by `compute_content_hash`"
    )
    snapshot: T = Field(description="The whole entity at that version")
    saved_by: NotBlankStr = Field(description="Id of the agent or user that saved the version")
    saved_at: Annotated[AwareDatetime, AfterValidator(_at_zero)] = Field(
        description="When the version was saved; its UTC offset must be zero"
    )


def compute_content_hash(model: BaseModel) -> str:
    """Return the SHA-256 of the model's JSON with sorted keys, in lower-case hex.

    Equal content has an equal hash on any machine.

    What Pydantic cannot dump, such as a read-only mapping, is hashed by its fields;
    `InvalidArgumentError` if they are nothing that JSON knows.
    """
    try:
        content: Any = model.model_dump(mode="json", warnings=False)
    except Exception:
        content = _by_fields(model)
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _by_fields(model: BaseModel) -> Any:
    try:
        return plain(model)
    except Exception as error:
        raise InvalidArgumentError(
            f"compute_content_hash: {type(model).__name__} holds what JSON does not know"
        ) from error
