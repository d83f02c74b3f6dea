"""What some rows need and a developer's machine may lack."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

__all__ = ["lacking", "need"]


def lacking(what: str) -> NoReturn:
    """Skip the test; where ``CI`` is set, nothing may be lacking, and it fails."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def need(name: str) -> str:
    """The program's path, or it is `lacking`."""
    found = shutil.which(name)
    return found if found is not None else lacking(f"the program {name} is not installed")
