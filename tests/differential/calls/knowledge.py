"""What the organisation knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from holdfast import OperationLogSnapshot, OrgFact, OrgFactAuthor, OrgFactCategory
from holdfast.testing.samples import required

from ..steps import Offer, call
from ..strategies import KEYS, NOW, a, bad, bounds, each, key_arguments, keys, limits, moments, page

__all__ = ["OFFERS"]

#: Pieces in which letters, their cases and the wildcards of patterns meet.
PIECES = ("a", "A", "É", "é", "%", "_", "\\", "ß", "SS", "İ", "i\u0307", "🦑", " ", "\ud7ff", "x")
contents = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map(lambda p: "".join(p) + ".")
wanted = bad(st.lists(st.sampled_from(PIECES), min_size=1, max_size=2).map("".join), ("", "\0", 3))
categories = st.sampled_from(("adr", "procedure", "core_policy"))
authors = st.sampled_from(
    (
        OrgFactAuthor(is_human=True),
        OrgFactAuthor(agent_id="ada", seniority="lead", autonomy_level="semi"),
    )
)
facts = a(
    OrgFact, id=keys, content=contents, category=categories, author=authors, created_at=moments,
    tags=st.sampled_from(((), ("z", "a"), ("z", "z", "é"))),
)  # fmt: skip
FIRST = datetime.min.replace(tzinfo=UTC)
snapshots = a(OperationLogSnapshot, fact_id=keys)
times = st.integers(-1, 60).map(lambda n: NOW + timedelta(seconds=n / 2))

OFFERS = (
    Offer(
        "org_facts",
        saves=[
            call("save", bad(facts, (required(OrgFactAuthor), None), once_in=12)),
            call("delete", key_arguments, always={"author": bad(authors, (None, "ada"))}),
        ],
        others=[
            call(
                "query", text=wanted, limit=bad(st.integers(-1, 120), ("5", True, 2**63, None)),
                categories=bad(
                    st.lists(categories, max_size=3), ("adr", ["?"], 3, set(OrgFactCategory)),
                ),
            ),
            call("query", text=wanted),
            call("list_by_category", bad(categories, ("", None)), **page(facts)),
            call(
                "snapshot_at", bad(times | bounds, (FIRST, NOW.replace(tzinfo=None))),
                **page(snapshots),
            ),
            call(
                "get_operation_log", key_arguments, limit=limits,
                after=st.tuples(keys, st.integers(1, 4)) | keys,
            ),
            call("get_operation_log", keys),
            call("get", key_arguments),
        ],
        lists=(
            *each("", "list_by_category", ("adr", "procedure", "core_policy")),
            *each("", "get_operation_log", KEYS),
            *each("", "snapshot_at", (NOW.replace(year=2030),)),
        ),
    ),
)  # fmt: skip
