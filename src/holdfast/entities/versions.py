"""Numbered snapshots of anything that is configured."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from holdfast.entities.base import Count, Entity, NotBlankStr, Sha256

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
    """SHA-256 of the model's JSON with sorted keys: equal content, equal hash, on any machine."""
    text = json.dumps(model.model_dump(mode="json"), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
