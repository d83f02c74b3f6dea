"""``python -m holdfast.migrations "add budgets"`` writes the revision for a changed schema."""

from __future__ import annotations

import asyncio
import sys

from holdfast.migrations import write_revision

if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].strip():
        sys.exit('usage: make revision m="what changes"')
    print(asyncio.run(write_revision(sys.argv[1])))  # noqa: T201 - a command
