"""Row-level security.

The policies are made by whoever runs the chains, behind the last of them, for the tables of all.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Also those of extensions: the function goes, and with it what asks it.
_REMOVE = """
DO $remove$
DECLARE
  secured regclass;
BEGIN
  FOR secured IN SELECT polrelid FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE polname = 'holdfast_tenant' AND relnamespace = current_schema()::regnamespace
  LOOP
    EXECUTE format('DROP POLICY holdfast_tenant ON %s', secured);
    EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', secured);
  END LOOP;
END $remove$
"""


def upgrade() -> None:
    pass


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(_REMOVE)
        op.execute("DROP FUNCTION IF EXISTS holdfast_tenant()")
