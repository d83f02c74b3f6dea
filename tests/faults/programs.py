"""Programs that some rows need and a developer's machine may lack."""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["need"]


def need(name: str) -> str:
    """The program's path. Without it the test is skipped, and fails where ``CI`` is set."""
    found = shutil.which(name)
    if found is None:
        complain = pytest.fail if os.environ.get("CI") else pytest.skip
        complain(f"the program {name} is not installed")
    assert found is not None
    return found
