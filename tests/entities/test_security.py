"""Exceptions from the rules, and attempts to get around them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from .samples import make


@pytest.mark.parametrize(
    "url",
    [
        "https://ada:hush@example.com/", "https://hush@example.com", "//ada:hush@example.com/x",
        "ada:hush@example.com/x", "hush@example.com", "https:ada:hush@example.com",
        "https:///ada:hush@example.com", "https:\\\\ada:hush@example.com", "ht\ntps://hush@a",
        "\x01https://ada:hush@a", "https://ada:hush@[::1", "https://ada:hush@a\u2100b/",
        "HTTPS://ada%40x:hush@a", "https://ada:hush@a?x=1",
    ],
)  # fmt: skip
def test_an_address_carries_no_login(url: str) -> None:
    with pytest.raises(ValidationError, match="must not carry a user or a password") as refused:
        make("SsrfViolation", url=url)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://a", "https://example.com:8443/@x?y=a@b#c@d", "http://[::1]:80/", "http://[::1",
        "/@x", "a/b@c", "example.com:80", "http://\u2100/", "file:///etc/passwd",
        "https://a?to=b@c", "https://a#b@c", "gopher://a:70/_x",
    ],
)  # fmt: skip
def test_other_addresses_are_kept_as_given(url: str) -> None:
    assert make("SsrfViolation", url=url).url == url


def test_an_override_is_active_until_it_is_revoked_or_over() -> None:
    now = datetime.now(UTC)
    since = now - timedelta(hours=1)
    assert make("RiskTierOverride", expires_at=now + timedelta(hours=1), created_at=since).is_active
    over = make("RiskTierOverride", expires_at=now - timedelta(seconds=1), created_at=since)
    assert not over.is_active
    revoked = make(
        "RiskTierOverride", created_at=since, expires_at=now + timedelta(hours=1),
        revoked_at=now, revoked_by="ada",
    )  # fmt: skip
    assert not revoked.is_active


def test_a_closed_circuit_was_not_opened() -> None:
    assert make("CircuitBreakerStateRecord").opened_at is None
    assert make("CircuitBreakerStateRecord", opened_at=1.5).opened_at == 1.5
