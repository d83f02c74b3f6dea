"""Numbered snapshots of anything that is configured."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from holdfast.entities.base import Count, Entity, NotBlankStr, Sha256
from holdfast.errors import InvalidArgumentError
from holdfast.values import plain

__all__ = ["VersionSnapshot", "compute_content_hash"]

T = TypeVar("T", bound=BaseModel)


def _at_zero(value: AwareDatetime) -> AwareDatetime:
    if value.utcoffset() != timedelta(0):
        raise ValueError("must be in UTC")
    return value


class VersionSnapshot(Entity, Generic[T]):
    """What ``entity_id`` was when it was saved for the ``version``-th time."""

    entity_id: NotBlankStr
    version: Annotated[Count, Field(ge=1)]
    content_hash: Sha256
    snapshot: T
    saved_by: NotBlankStr
    saved_at: Annotated[AwareDatetime, AfterValidator(_at_zero)]


def compute_content_hash(model: BaseModel) -> str:
    """SHA-256 of the model's JSON with sorted keys: equal content, equal hash, on any machine.

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
