"""Holdfast's fixtures, with the extension attached: each test runs once for each engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from helpdesk import HELPDESK

pytest_plugins = ["holdfast.testing.fixtures"]


@pytest.fixture(scope="session")
def holdfast_options() -> Mapping[str, Any]:
    return {"extensions": [HELPDESK]}
