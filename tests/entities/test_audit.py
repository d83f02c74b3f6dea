"""Audit entries."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from .samples import HASH, make


@pytest.mark.parametrize("bad", ["", HASH[1:], HASH + "0", HASH.upper(), HASH + "\n", "g" * 64])
def test_a_hash_is_64_lower_case_digits(bad: str) -> None:
    assert make("AuditEntry").arguments_hash == HASH
    with pytest.raises(ValidationError):
        make("AuditEntry", arguments_hash=bad)


def test_verdicts() -> None:
    for verdict in ("allow", "deny", "escalate", "output_scan"):
        assert make("AuditEntry", verdict=verdict).verdict == verdict
    for bad in ("maybe", "ALLOW", "", None):
        with pytest.raises(ValidationError):
            make("AuditEntry", verdict=bad)


def test_rules_keep_their_order_and_may_repeat() -> None:
    made = make("AuditEntry", matched_rules=["b", "a", "b"])
    assert made.matched_rules == ("b", "a", "b")
    with pytest.raises(ValidationError):
        make("AuditEntry", matched_rules=["a", ""])


def test_the_type_of_an_action_is_any_text() -> None:
    for action in ("", "files:delete", " "):
        assert make("AuditEntry", action_type=action).action_type == action
