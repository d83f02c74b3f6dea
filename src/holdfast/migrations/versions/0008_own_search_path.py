"""Trigger functions with a search path of their own, that name the schema of their table."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_RULES = {
    "ck_users_ceo_minimum": "{row}.role = 'ceo'",
    "ck_users_owner_minimum": "{row}.is_owner",
}
_UP = """
CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  another boolean;
BEGIN
  IF {old} AND (TG_OP = 'DELETE' OR NOT ({new})) THEN
    PERFORM pg_advisory_xact_lock(hashtextextended('{name}:' || OLD.tenant, 0));
    EXECUTE 'SELECT EXISTS (SELECT 1 FROM ' || TG_RELID::regclass
      || $of$ o WHERE o.tenant = $1 AND o.id <> $2 AND {other})$of$
      INTO another USING OLD.tenant, OLD.id;
    IF NOT another THEN
      RAISE EXCEPTION 'holdfast:{name}' USING ERRCODE = 'check_violation',
        CONSTRAINT = '{name}', TABLE = 'users';
    END IF;
  END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$
"""
_DOWN = """
CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF {old} AND (TG_OP = 'DELETE' OR NOT ({new})) THEN
    PERFORM pg_advisory_xact_lock(hashtextextended('{name}:' || OLD.tenant, 0));
    IF NOT EXISTS (SELECT 1 FROM users o
                   WHERE o.tenant = OLD.tenant AND o.id <> OLD.id AND {other}) THEN
      RAISE EXCEPTION 'holdfast:{name}' USING ERRCODE = 'check_violation',
        CONSTRAINT = '{name}', TABLE = 'users';
    END IF;
  END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$
"""


def _replace(function: str) -> None:
    if op.get_context().dialect.name == "postgresql":
        for name, holds in _RULES.items():
            rows = {"old": "OLD", "new": "NEW", "other": "o"}
            words = {word: holds.format(row=row) for word, row in rows.items()}
            op.execute(function.format(name=name, **words))


def upgrade() -> None:
    _replace(_UP)


def downgrade() -> None:
    _replace(_DOWN)
