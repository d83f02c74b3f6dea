"""The version histories, and the service that adds to them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from functools import cache
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel

from holdfast import (
    AgentIdentity,
    BudgetConfig,
    Company,
    EvaluationConfig,
    OrgFactAuthor,
    Role,
    VersionSnapshot,
    WorkflowDefinition,
)
from holdfast.testing.samples import full, required

from ..steps import Offer, call
from ..strategies import KEYS, a, agents, bad, each, key_arguments, keys, limits, moments, offsets

__all__ = ["OFFERS"]

HASHES = tuple(character * 64 for character in "ab")
hashes = st.sampled_from(HASHES)
numbers = bad(st.integers(0, 4), (True, "1", 2**63, None))


OTHER = required(OrgFactAuthor)


def _contents(kind: type[BaseModel]) -> st.SearchStrategy[BaseModel]:
    """One of two; made late, because Hypothesis writes down what it chooses from."""
    return st.sampled_from((required, full)).map(lambda make: _made(make, kind))


@cache
def _made(make: Callable[[type[BaseModel]], BaseModel], kind: type[BaseModel]) -> BaseModel:
    return make(kind)


def _history(name: str, kind: type[BaseModel]) -> Offer:
    versions: st.SearchStrategy[Any] = a(
        VersionSnapshot[kind],  # type: ignore[valid-type]
        entity_id=keys, version=st.integers(1, 4), content_hash=hashes,
        snapshot=_contents(kind), saved_by=agents,
        saved_at=moments.map(lambda moment: moment.astimezone(UTC)),
    )  # fmt: skip
    places = st.tuples(keys, st.integers(1, 4)) | keys | versions
    return Offer(
        name,
        saves=[call("save_version", bad(versions, (OTHER, None), once_in=12))],
        others=[
            call("get_version", key_arguments, numbers),
            call("get_latest_version", key_arguments),
            call("get_by_content_hash", key_arguments, bad(hashes, ("", "a", 5))),
            call(
                "list_versions", key_arguments, limit=bad(limits, (0, 0)), offset=offsets,
                after=places,
            ),
            call("list_versions", keys, limit=limits),
            call("count_versions", key_arguments),
            call("delete_versions_for_entity", key_arguments),
        ],
        lists=each("", "list_versions", KEYS[:3]),
    )  # fmt: skip


def _service(name: str, kind: type[BaseModel]) -> Offer:
    savers = bad(agents, ("", "\0"))
    return Offer(
        name,
        saves=[call("snapshot_if_changed", key_arguments, _contents(kind), savers)],
        others=[call("get_latest", key_arguments)],
    )


OFFERS = (
    _history("workflow_versions", WorkflowDefinition),
    _history("identity_versions", AgentIdentity),
    _history("evaluation_config_versions", EvaluationConfig),
    _history("budget_config_versions", BudgetConfig),
    _history("company_versions", Company),
    _history("role_versions", Role),
    _service("company_versioning", Company),
    _service("role_versioning", Role),
)
