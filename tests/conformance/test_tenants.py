"""Tenants of the repositories whose records are made by other methods than a save."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from holdfast import PersistenceBackend, Session, User, create_backend
from holdfast.testing.samples import required

LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.mark.alone
async def test_sums_are_a_tenants(backend: PersistenceBackend) -> None:
    other = backend.for_tenant("other")
    await backend.project_cost_aggregates.increment("p", 1.5, 2, 3)
    assert await other.project_cost_aggregates.get("p") is None
    theirs = await other.project_cost_aggregates.increment("p", 0.25, 1, 1)
    assert (theirs.total_cost, theirs.record_count) == (0.25, 1)
    mine = await backend.project_cost_aggregates.get("p")
    assert mine is not None
    assert (mine.total_cost, mine.total_input_tokens, mine.total_output_tokens) == (1.5, 2, 3)


@pytest.mark.alone
async def test_a_backend_says_what_it_is(backend: PersistenceBackend, url: str) -> None:
    text = repr(backend)
    assert text.startswith(f"<{type(backend).__name__} {backend.backend_name} ")
    assert text.endswith("tenant 'default', connected>")
    assert url.partition("?")[0].rpartition("/")[2] in text
    view = repr(backend.for_tenant("a\x1b[31m'cme"))
    assert view.endswith("""tenant "a\\x1b[31m'cme", connected>""")
    secret = create_backend("postgresql://app:canary@db.example/org")
    assert repr(secret) == (
        "<PostgresPersistenceBackend postgres db.example:5432/org, tenant 'default', not connected>"
    )


@pytest.mark.alone
async def test_claims_are_a_tenants(backend: PersistenceBackend) -> None:
    keys, others = backend.idempotency_keys, backend.for_tenant("other").idempotency_keys
    claim = await keys.claim("s", "k", 60)
    assert claim.claim_token is not None
    assert await others.get("s", "k") is None
    assert await others.complete("s", "k", claim.claim_token) is False
    assert await others.fail("s", "k", claim.claim_token, error="e") is False
    theirs = await others.claim("s", "k", 60)
    assert theirs.outcome == "fresh"
    assert await others.cleanup_expired(now=LATER) == 1
    stored = await keys.get("s", "k")
    assert stored is not None
    assert stored.claim_token == claim.claim_token
    assert await keys.complete("s", "k", claim.claim_token, response="r") is True


@pytest.mark.alone
async def test_tokens_are_a_tenants(backend: PersistenceBackend) -> None:
    other = backend.for_tenant("other")
    for tenant in (backend, other):
        await tenant.users.save(required(User, id="u", username="u"))
        session = required(Session, id="s", user_id="u").model_copy(update={"expires_at": LATER})
        await tenant.sessions.create(session)
    await backend.refresh_tokens.create("mine", "s", "u", LATER)
    assert await other.refresh_tokens.consume("mine") is None
    assert await other.refresh_tokens.revoke_by_session("s") == 0
    assert await other.refresh_tokens.revoke_by_user("u") == 0
    await other.refresh_tokens.create("mine", "s", "u", LATER)
    assert await other.sessions.revoke_all_for_user("u") == 1
    assert await other.refresh_tokens.consume("mine") is None
    record = await backend.refresh_tokens.consume("mine")
    assert record is not None
    assert (record.token_hash, record.session_id, record.user_id) == ("mine", "s", "u")
    assert await backend.refresh_tokens.consume("mine") is None


@pytest.mark.alone
async def test_lockouts_are_a_tenants(backend: PersistenceBackend) -> None:
    mine, others = backend.lockouts, backend.for_tenant("other").lockouts
    locked = [await mine.record_failure("ada", "::1") for _ in range(5)]
    assert locked == [False] * 4 + [True]
    await others.load_locked()
    assert not others.is_locked("ada")
    assert await others.record_failure("ada") is False
    await others.record_success("ada")
    assert await others.cleanup_expired() == 0
    await mine.load_locked()
    assert mine.is_locked("ada")


async def test_a_backend_is_made_for_a_tenant(url: str) -> None:
    assert create_backend(url, tenant="acme").tenant == "acme"
    assert create_backend(url).tenant == "default"
