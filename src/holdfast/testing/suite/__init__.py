"""What every repository must do on every engine. Needs the plugin `holdfast.testing.fixtures`.

::

    class TestTickets(RepositorySuite):
        subject = Subject("tickets", Ticket, repository=Tickets)

    class TestMyEngine(EngineSuite):      # with `holdfast_make_backend` overridden
        pass

The parts are suites of their own, for a test run that shares them among processes.
"""

import holdfast.testing.extra

# isort: split

from holdfast.testing.catalogue import SUBJECTS
from holdfast.testing.suite.arguments import ArgumentSuite
from holdfast.testing.suite.base import Suite
from holdfast.testing.suite.bound import BoundSuite
from holdfast.testing.suite.changes import ChangeSuite
from holdfast.testing.suite.damage import DamageSuite
from holdfast.testing.suite.lifecycle import LifecycleSuite
from holdfast.testing.suite.lists import ListSuite
from holdfast.testing.suite.records import RecordSuite
from holdfast.testing.suite.tenants import TenantSuite
from holdfast.testing.suite.transactions import ConcurrencySuite, TransactionSuite
from holdfast.testing.suite.widths import WidthSuite

__all__ = [
    "ArgumentSuite",
    "BoundSuite",
    "ChangeSuite",
    "ConcurrencySuite",
    "DamageSuite",
    "EngineSuite",
    "LifecycleSuite",
    "ListSuite",
    "RecordSuite",
    "RepositorySuite",
    "Suite",
    "TenantSuite",
    "TransactionSuite",
    "WidthSuite",
]


class RepositorySuite(
    RecordSuite,
    ListSuite,
    ArgumentSuite,
    WidthSuite,
    TenantSuite,
    ChangeSuite,
    BoundSuite,
    DamageSuite,
):
    """All that can be asked of a repository."""


class EngineSuite(RepositorySuite, LifecycleSuite, TransactionSuite, ConcurrencySuite):
    """All that can be asked of an engine: every repository of Holdfast's, and what is around."""

    subjects = SUBJECTS
