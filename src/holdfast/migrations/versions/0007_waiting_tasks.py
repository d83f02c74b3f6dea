"""What a task waits for: a column, and the triggers that keep it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from holdfast.storage import types

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_UP = {
    "sqlite": [
        """
CREATE TRIGGER tasks_waits_insert AFTER INSERT ON tasks
WHEN NEW.status = 'created' AND NEW.dependencies <> '[]' OR NEW.waits_for IS NOT NULL
  OR NEW.status = 'completed'
BEGIN
  UPDATE tasks SET waits_for = CASE WHEN NEW.status = 'created'
  AND NEW.dependencies GLOB '[[]"*"]' THEN (
    SELECT needed.value FROM json_each(NEW.dependencies) AS needed
    WHERE (
      SELECT o.status FROM tasks o
      WHERE o.tenant = NEW.tenant AND o.id = needed.value) IS NOT 'completed'
    ORDER BY needed.value LIMIT 1) END
  WHERE tenant = NEW.tenant AND id = NEW.id
  AND (NEW.status = 'created' AND NEW.dependencies <> '[]' OR NEW.waits_for IS NOT NULL);
  UPDATE tasks SET waits_for = CASE WHEN tasks.status = 'created'
  AND tasks.dependencies GLOB '[[]"*"]' THEN (
    SELECT needed.value FROM json_each(tasks.dependencies) AS needed
    WHERE (
      SELECT o.status FROM tasks o
      WHERE o.tenant = tasks.tenant AND o.id = needed.value) IS NOT 'completed'
    ORDER BY needed.value LIMIT 1) END
  WHERE tenant = NEW.tenant AND waits_for = NEW.id
  AND NEW.status = 'completed';
END
""",
        """
CREATE TRIGGER tasks_waits_update AFTER UPDATE OF status, dependencies ON tasks
WHEN NEW.status = 'created' AND NEW.dependencies <> '[]' OR NEW.waits_for IS NOT NULL
  OR NEW.status = 'completed' AND OLD.status <> 'completed'
BEGIN
  UPDATE tasks SET waits_for = CASE WHEN NEW.status = 'created'
  AND NEW.dependencies GLOB '[[]"*"]' THEN (
    SELECT needed.value FROM json_each(NEW.dependencies) AS needed
    WHERE (
      SELECT o.status FROM tasks o
      WHERE o.tenant = NEW.tenant AND o.id = needed.value) IS NOT 'completed'
    ORDER BY needed.value LIMIT 1) END
  WHERE tenant = NEW.tenant AND id = NEW.id
  AND (NEW.status = 'created' AND NEW.dependencies <> '[]' OR NEW.waits_for IS NOT NULL);
  UPDATE tasks SET waits_for = CASE WHEN tasks.status = 'created'
  AND tasks.dependencies GLOB '[[]"*"]' THEN (
    SELECT needed.value FROM json_each(tasks.dependencies) AS needed
    WHERE (
      SELECT o.status FROM tasks o
      WHERE o.tenant = tasks.tenant AND o.id = needed.value) IS NOT 'completed'
    ORDER BY needed.value LIMIT 1) END
  WHERE tenant = NEW.tenant AND waits_for = NEW.id
  AND NEW.status = 'completed' AND OLD.status <> 'completed';
END
""",
    ],
    "postgresql": [
        """
CREATE FUNCTION tasks_mark() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  names bigint := hashtextextended(NEW.tenant, 0);
  held text := coalesce(current_setting('holdfast.waits', true), '');
  lock text;
  key bigint;
  key_of_all bigint;
  alone boolean;
  needed text;
BEGIN
  PERFORM set_config('search_path',
    'pg_catalog, ' || quote_ident(TG_TABLE_SCHEMA) || ', pg_temp', true);
  IF NEW.status = 'completed' AND NEW.waits_for = '' THEN
    RETURN NEW;
  END IF;
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    NEW.waits_for := CASE WHEN NEW.status = 'completed' AND (
      TG_OP = 'INSERT' OR OLD.status <> 'completed' OR OLD.waits_for = '') THEN '' END;
    RETURN NEW;
  END IF;
  NEW.waits_for := NULL;
  IF NEW.status <> 'created' OR json_typeof(NEW.dependencies) <> 'array' THEN
    RETURN NEW;
  END IF;
  LOOP
    SELECT value INTO needed FROM json_array_elements_text(NEW.dependencies)
    WHERE (SELECT o.status FROM tasks o
      WHERE o.tenant = NEW.tenant AND o.id = value) IS DISTINCT FROM 'completed'
    ORDER BY value COLLATE "C" LIMIT 1;
    EXIT WHEN needed IS NOT DISTINCT FROM NEW.waits_for;
    NEW.waits_for := needed;
    EXIT WHEN needed IS NULL;
    key := hashtextextended(needed, names);
    lock := 'm' || lpad(to_hex(key), 16, '0') || ' ';
    IF strpos(held, lock) > 0 THEN
      alone := true;
    ELSIF octet_length(held) < 576 THEN
      alone := pg_try_advisory_xact_lock_shared(key);
      IF alone THEN
        held := held || lock;
        PERFORM set_config('holdfast.waits', held, true);
      END IF;
    ELSE
      key_of_all := hashtextextended('tasks.mark', names);
      alone := CASE WHEN pg_try_advisory_xact_lock_shared(key_of_all) THEN
        CASE WHEN pg_try_advisory_lock_shared(key) THEN pg_advisory_unlock_shared(key) END END;
    END IF;
    IF alone THEN
      key_of_all := hashtextextended('tasks.wake', names);
      alone := CASE WHEN pg_try_advisory_lock(key_of_all) THEN pg_advisory_unlock(key_of_all) END;
    END IF;
    IF alone IS NOT TRUE THEN
      NEW.waits_for := NULL;
      EXIT;
    END IF;
  END LOOP;
  RETURN NEW;
END $$
""",
        """
CREATE FUNCTION tasks_wake() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  names bigint := hashtextextended(NEW.tenant, 0);
  held text := coalesce(current_setting('holdfast.waits', true), '');
  lock text;
  key bigint;
  key_of_all bigint;
  alone boolean;
BEGIN
  PERFORM set_config('search_path',
    'pg_catalog, ' || quote_ident(TG_TABLE_SCHEMA) || ', pg_temp', true);
    key := hashtextextended(NEW.id, names);
    lock := 'w' || lpad(to_hex(key), 16, '0') || ' ';
    IF strpos(held, lock) > 0 THEN
      alone := true;
    ELSIF octet_length(held) < 576 THEN
      alone := pg_try_advisory_xact_lock(key);
      IF alone THEN
        held := held || lock;
        PERFORM set_config('holdfast.waits', held, true);
      END IF;
    ELSE
      key_of_all := hashtextextended('tasks.wake', names);
      alone := CASE WHEN pg_try_advisory_xact_lock_shared(key_of_all) THEN
        CASE WHEN pg_try_advisory_lock(key) THEN pg_advisory_unlock(key) END END;
    END IF;
    IF alone THEN
      key_of_all := hashtextextended('tasks.mark', names);
      alone := CASE WHEN pg_try_advisory_lock(key_of_all) THEN pg_advisory_unlock(key_of_all) END;
    END IF;
  -- Each goes by `tasks_mark`.
  UPDATE tasks SET waits_for = NULL WHERE tenant = NEW.tenant AND id = ANY (ARRAY(
    SELECT t.id FROM tasks t
    WHERE t.tenant = NEW.tenant AND t.waits_for = NEW.id FOR UPDATE SKIP LOCKED));
  IF NEW.waits_for IS NULL AND (alone IS NOT TRUE OR EXISTS (
    SELECT FROM tasks t WHERE t.tenant = NEW.tenant AND t.waits_for = NEW.id)) THEN
    UPDATE tasks SET waits_for = ''
    WHERE tenant = NEW.tenant AND id = NEW.id AND status = 'completed';
  END IF;
  RETURN NULL;
END $$
""",
        """
CREATE FUNCTION tasks_unrecorded() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('holdfast.unrecorded', (
    coalesce(nullif(current_setting('holdfast.unrecorded', true), ''), '0')::int
    + CASE TG_WHEN WHEN 'BEFORE' THEN 1 ELSE -1 END)::text, true);
  RETURN NULL;
END $$
""",
        """
CREATE TRIGGER tasks_mark BEFORE INSERT OR UPDATE ON tasks FOR EACH ROW
WHEN (NEW.status = 'created' AND NEW.dependencies::text <> '[]' OR NEW.waits_for IS NOT NULL
  OR NEW.status = 'completed' AND current_setting('transaction_isolation') <> 'read committed')
EXECUTE FUNCTION tasks_mark()
""",
        """
CREATE TRIGGER tasks_wake_insert AFTER INSERT ON tasks FOR EACH ROW
WHEN (NEW.status = 'completed') EXECUTE FUNCTION tasks_wake()
""",
        """
CREATE TRIGGER tasks_wake_update AFTER UPDATE ON tasks FOR EACH ROW
WHEN (NEW.status = 'completed' AND (OLD.status <> 'completed' OR OLD.waits_for IS NOT NULL))
EXECUTE FUNCTION tasks_wake()
""",
        """
CREATE TRIGGER tasks_unrecorded BEFORE UPDATE OF waits_for ON tasks
FOR EACH STATEMENT EXECUTE FUNCTION tasks_unrecorded()
""",
        """
CREATE TRIGGER tasks_unrecorded_end AFTER UPDATE OF waits_for ON tasks
FOR EACH STATEMENT EXECUTE FUNCTION tasks_unrecorded()
""",
    ],
}
_DOWN = {
    "sqlite": [
        "DROP TRIGGER tasks_waits_insert",
        "DROP TRIGGER tasks_waits_update",
    ],
    "postgresql": [
        "DROP TRIGGER tasks_mark ON tasks",
        "DROP TRIGGER tasks_wake_insert ON tasks",
        "DROP TRIGGER tasks_wake_update ON tasks",
        "DROP TRIGGER tasks_unrecorded ON tasks",
        "DROP TRIGGER tasks_unrecorded_end ON tasks",
        "DROP FUNCTION tasks_mark()",
        "DROP FUNCTION tasks_wake()",
        "DROP FUNCTION tasks_unrecorded()",
    ],
}
_CLAIM = ["tenant", "priority_rank", "first_saved", "id"]


def upgrade() -> None:
    op.add_column("tasks", sa.Column("waits_for", types.CodePointText(), nullable=True))
    for statement in _UP[op.get_context().dialect.name]:
        op.execute(statement)
    # The triggers look at each.
    op.execute(
        "UPDATE tasks SET status = status, waits_for = NULL"
        " WHERE status = 'created' AND CAST(dependencies AS TEXT) <> '[]'"
    )
    op.drop_index("ix_tasks_claim", "tasks")
    _index("ix_tasks_claim", _CLAIM, "status = 'created' AND waits_for IS NULL")
    _index("ix_tasks_waits_for", ["tenant", "waits_for"], "waits_for IS NOT NULL")


def downgrade() -> None:
    for statement in _DOWN[op.get_context().dialect.name]:
        op.execute(statement)
    op.drop_index("ix_tasks_waits_for", "tasks")
    op.drop_index("ix_tasks_claim", "tasks")
    _index("ix_tasks_claim", _CLAIM, "status = 'created'")
    op.drop_column("tasks", "waits_for")


def _index(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "tasks", columns, postgresql_where=condition, sqlite_where=condition)
