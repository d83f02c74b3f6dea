"""Settings, presets and idempotency keys: texts under keys."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from holdfast import PresetListRow

from ..steps import Call, Offer, call
from ..strategies import agents, bad, bounds, each, key_arguments, keys, page, texts

__all__ = ["OFFERS"]

namespaces = bad(st.sampled_from(("n", "m")), ("", "n\0"))
stamps = st.sampled_from(("1", "2", ""))
items = st.lists(st.tuples(namespaces, keys, agents, stamps), max_size=3)
expectations = st.dictionaries(st.tuples(st.just("n"), keys), stamps, max_size=2)
entries = st.tuples(st.just("n"), keys)
rows = st.builds(PresetListRow, keys, *[st.just("x")] * 4)

#: As `World.name` makes them, so that some of them are right.
tokens = bad(st.sampled_from(("made 1", "made 2", "made 3")), ("", "\ud800", None))
lifetimes = bad(
    st.sampled_from((0.5, 2, 30)), (0, -1, True, float("nan"), float("inf"), 1e300, "1", 10**400)
)
some = st.sampled_from(("a", "é"))
now: dict[str, Any] = {"now": bounds}

OFFERS = (
    Offer(
        "settings",
        saves=[
            call("set", namespaces, keys, agents, stamps, expected_updated_at=stamps),
            call("set_many", items, expected_updated_at_map=expectations),
        ],
        others=[
            call("get", namespaces, key_arguments),
            call("get_all", **page(entries)),
            call("get_namespace", namespaces, **page(entries)),
            call("delete", namespaces, key_arguments),
            call("delete_namespace", namespaces),
            call("delete_namespace_returning_keys", namespaces),
        ],
        lists=(Call("", "get_all"), *each("", "get_namespace", ("n", "m"))),
    ),
    Offer(
        "custom_presets",
        saves=[
            call("save", keys, agents, agents, stamps, stamps),
            call("save", key_arguments, texts, texts, texts, texts),
        ],
        others=[
            call("list_all", **page(rows)),
            call("count"),
            call("get", key_arguments),
            call("delete", key_arguments),
        ],
        lists=(Call("", "list_all"),),
        ordered=True,
    ),
    Offer(
        "idempotency_keys",
        saves=[
            call("claim", namespaces, key_arguments, lifetimes, now=bounds),
            call("claim", st.just("n"), some, lifetimes),
            call("complete", st.just("n"), some, tokens, response=texts, **now),
            call("fail", st.just("n"), key_arguments, tokens, always={"error": texts}, **now),
        ],
        others=[
            call("get", namespaces, key_arguments, **now),
            call("get", st.just("n"), some),
            call("cleanup_expired", **now),
        ],
    ),
)  # fmt: skip
