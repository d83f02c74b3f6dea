"""Cost records."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from .samples import make


@pytest.mark.parametrize(
    ("tokens", "cost"), [((1, 0), 0.1), ((0, 1), 0.1), ((0, 0), 0), ((5, 5), 0)]
)
def test_what_costs_something_used_tokens(tokens: tuple[int, int], cost: float) -> None:
    made = make("CostRecord", input_tokens=tokens[0], output_tokens=tokens[1], cost_usd=cost)
    assert made.cost_usd == cost


def test_a_cost_without_tokens_is_refused() -> None:
    with pytest.raises(ValidationError, match="cost_usd above 0"):
        make("CostRecord", input_tokens=0, output_tokens=0, cost_usd=1e-9)


def test_a_reason_needs_a_retry() -> None:
    assert make("CostRecord", retry_count=1, retry_reason="").retry_reason == ""
    assert make("CostRecord", retry_count=0).retry_count == 0
    for count in (None, 0):
        with pytest.raises(ValidationError, match="retry_reason needs"):
            make("CostRecord", retry_count=count, retry_reason="timeout")


def test_unknown_is_not_false() -> None:
    made = make("CostRecord", cache_hit=False, success=False)
    assert (made.cache_hit, made.success) == (False, False)
    assert (make("CostRecord").cache_hit, make("CostRecord").success) == (None, None)
