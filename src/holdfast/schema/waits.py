"""What a task waits for: the column by which `claim` passes over tasks that cannot be claimed.

``waits_for`` names one dependency that is not ``completed``, for as long as the task is ``created``
and has one; whoever completes that one moves the task on to the next, or clears it. Only a filter:
what is cleared may wait again (a dependency was reopened or deleted), so `claim` looks itself. But
no task stays marked whose dependencies are all completed. Triggers see to it on both engines,
whoever writes.

On SQLite there is one writer. On PostgreSQL a task could be marked while another transaction, which
does not see it yet, completes what it waits for. So each looks whether there is one such as the
other, and waits for nobody: a task whose dependency is just being completed is not marked, and who
completes one that tasks are just marked with leaves a blank in its row: `claim` goes by it again.

A transaction with an older snapshot (REPEATABLE READ, SERIALIZABLE) marks nothing, and leaves that
blank always.
"""

from __future__ import annotations

from holdfast.schema.tasks import tasks
from holdfast.storage.triggers import Made, add

__all__ = ["NAME", "STATEMENTS"]

NAME = "tasks_waits_for"

# The pattern is there for damaged rows, which must not fail whoever completes a dependency:
# json_valid() may not run in triggers of a database that is not trusted.
_UNMET = """
  CASE WHEN {row}.status = 'created'
  AND {row}.dependencies GLOB '[[]"*"]' THEN (
    SELECT needed.value FROM json_each({row}.dependencies) AS needed
    WHERE (
      SELECT o.status FROM tasks o
      WHERE o.tenant = {row}.tenant AND o.id = needed.value) IS NOT 'completed'
    ORDER BY needed.value LIMIT 1) END
"""
_MARKS = "NEW.status = 'created' AND NEW.dependencies <> '[]' OR NEW.waits_for IS NOT NULL"
# One for each event: SQLite takes 0.6 us more for a second one that does nothing.
_ON_SQLITE = """
CREATE TRIGGER tasks_waits_{event} AFTER {changes} ON tasks
WHEN {marks}
  OR {wakes}
BEGIN
  UPDATE tasks SET waits_for = {new}
  WHERE tenant = NEW.tenant AND id = NEW.id
  AND ({marks});
  UPDATE tasks SET waits_for = {of_row}
  WHERE tenant = NEW.tenant AND waits_for = NEW.id
  AND {wakes};
END
"""

# A temporary table of the name comes last, and the schema may be renamed.
_PATH = "SET search_path = pg_catalog, pg_temp"
# Nobody waits for anybody. Each side says what it does, by a lock to its transaction's end, and
# then looks whether the other side is there: of two at the same time at least one sees the other.
# A list of 32 names, of 18 bytes each, is enough; of further ones it says that it does all. Locks
# of the session are given back in the same expression, which nothing interrupts.
_LOOK = """
    lock := '{kind}' || lpad(to_hex(key), 16, '0') || ' ';
    IF strpos(held, lock) > 0 THEN
      alone := true;
    ELSIF octet_length(held) < 576 THEN
      alone := pg_try_advisory_xact_lock{shared}(key);
      IF alone THEN
        held := held || lock;
        PERFORM set_config('holdfast.waits', held, true);
      END IF;
    ELSE
      key_of_all := hashtextextended('tasks.{mine}', names);
      alone := CASE WHEN pg_try_advisory_xact_lock_shared(key_of_all) THEN
        CASE WHEN pg_try_advisory_lock{shared}(key) THEN pg_advisory_unlock{shared}(key) END END;
    END IF;
    IF alone THEN
      key_of_all := hashtextextended('tasks.{theirs}', names);
      alone := CASE WHEN pg_try_advisory_lock(key_of_all) THEN pg_advisory_unlock(key_of_all) END;
    END IF;
"""
_DECLARE = """
DECLARE
  names bigint := hashtextextended(NEW.tenant, 0);
  held text := coalesce(current_setting('holdfast.waits', true), '');
  lock text;
  key bigint;
  key_of_all bigint;
  alone boolean;
"""
# Till the function ends, which its clause sees to.
_ENTER = """
  PERFORM set_config('search_path',
    'pg_catalog, ' || quote_ident(TG_TABLE_SCHEMA) || ', pg_temp', true);
"""
_MARK = f"""
CREATE FUNCTION tasks_mark() RETURNS trigger LANGUAGE plpgsql
{_PATH} AS $$
{_DECLARE.strip()}
  needed text;
BEGIN
{_ENTER.strip(chr(10))}
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
{_LOOK.format(kind="m", mine="mark", theirs="wake", shared="_shared").strip(chr(10))}
    IF alone IS NOT TRUE THEN
      NEW.waits_for := NULL;
      EXIT;
    END IF;
  END LOOP;
  RETURN NEW;
END $$
"""  # noqa: S608
_WAKE = f"""
CREATE FUNCTION tasks_wake() RETURNS trigger LANGUAGE plpgsql
{_PATH} AS $$
{_DECLARE.strip()}
BEGIN
{_ENTER.strip(chr(10))}
    key := hashtextextended(NEW.id, names);
{_LOOK.format(kind="w", mine="wake", theirs="mark", shared="").strip(chr(10))}
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
"""  # noqa: S608
# Recorders (`holdfast.changes.recorders`) look at the depth.
_UNRECORDED = f"""
CREATE FUNCTION tasks_unrecorded() RETURNS trigger LANGUAGE plpgsql
{_PATH} AS $$
BEGIN
  PERFORM set_config('holdfast.unrecorded', (
    coalesce(nullif(current_setting('holdfast.unrecorded', true), ''), '0')::int
    + CASE TG_WHEN WHEN 'BEFORE' THEN 1 ELSE -1 END)::text, true);
  RETURN NULL;
END $$
"""
_TRIGGERS = (
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
    # In the order of their names, which puts the second one behind the recorder.
    """
CREATE TRIGGER tasks_unrecorded BEFORE UPDATE OF waits_for ON tasks
FOR EACH STATEMENT EXECUTE FUNCTION tasks_unrecorded()
""",
    """
CREATE TRIGGER tasks_unrecorded_end AFTER UPDATE OF waits_for ON tasks
FOR EACH STATEMENT EXECUTE FUNCTION tasks_unrecorded()
""",
)


def _on_sqlite() -> Made:
    completed = "NEW.status = 'completed'"
    events = {
        "insert": ("INSERT", completed),
        "update": (
            "UPDATE OF status, dependencies", f"{completed} AND OLD.status <> 'completed'"
        ),
    }  # fmt: skip
    up = [
        _ON_SQLITE.format(
            event=event, changes=changes, marks=_MARKS, wakes=wakes,
            new=_UNMET.format(row="NEW").strip(), of_row=_UNMET.format(row="tasks").strip(),
        )
        for event, (changes, wakes) in events.items()
    ]  # fmt: skip
    return up, [f"DROP TRIGGER tasks_waits_{event}" for event in events]


def _on_postgres() -> Made:
    functions = ("mark", "wake", "unrecorded")
    triggers = ("mark", "wake_insert", "wake_update", "unrecorded", "unrecorded_end")
    down = [f"DROP TRIGGER tasks_{name} ON tasks" for name in triggers]
    down += [f"DROP FUNCTION tasks_{name}()" for name in functions]
    return [_MARK, _WAKE, _UNRECORDED, *_TRIGGERS], down


#: By dialect: what creates the triggers, and what drops them.
STATEMENTS = {"sqlite": _on_sqlite(), "postgresql": _on_postgres()}
add(tasks, NAME, STATEMENTS)
