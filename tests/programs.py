"""Programs of the system that some tests run. A test that lacks one fails: nothing is skipped.

``@pytest.mark.needs("openssl")`` leaves a test out of `make test`, which runs anywhere.
"""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["lacking", "need"]

#: How to get them on Debian.
_PACKAGES = {"cc": "gcc libc6-dev", "openssl": "openssl", "pgbouncer": "pgbouncer"}


def _path(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def lacking(name: str) -> str:
    """What to do so that a program can be run; nothing if it can."""
    if name == "mount":
        return "" if os.geteuid() == 0 else "this test mounts a small file system: run it as root"
    if _path(name) is None:
        return f"the program {name} is not installed: apt-get install {_PACKAGES[name]}"
    return ""


def need(name: str) -> str:
    """The program's path; without it the test fails."""
    if problem := lacking(name):
        pytest.fail(problem, pytrace=False)
    found = _path(name)
    assert found is not None
    return found
