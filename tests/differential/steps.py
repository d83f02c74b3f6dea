"""What an example is made of: the steps of a script, and what a repository offers for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

__all__ = ["Call", "Calls", "Offer", "Step", "Together", "Transaction", "Wait", "call", "chosen"]


@dataclass(frozen=True)
class Call:
    """A call of a repository's method, or a look at what is no method."""

    repository: str
    method: str
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Together:
    """Saves at the same time."""

    calls: list[Call]


@dataclass(frozen=True)
class Transaction:
    """Calls in one transaction, some of them in a savepoint; rolled back if it ``fails``."""

    calls: list[Call]
    nested: list[Call]
    nested_fails: bool
    fails: bool
    elsewhere: bool


@dataclass(frozen=True)
class Wait:
    """The clock moves; it may be set back."""

    seconds: float


Step = Call | Together | Transaction | Wait
Calls = Sequence[st.SearchStrategy[Call]]


def call(
    method: str,
    /,
    *arguments: st.SearchStrategy[Any],
    always: dict[str, st.SearchStrategy[Any]] | None = None,
    **options: st.SearchStrategy[Any],
) -> st.SearchStrategy[Call]:
    """Calls of a method of the repository that offers them; ``options`` may be left out."""
    return st.builds(
        Call,
        st.just(""),
        st.just(method),
        st.tuples(*arguments),
        st.fixed_dictionaries(always or {}, optional=options),
    )


def chosen(*strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One of them, each as likely; `one_of` would join nested choices and forget repeated ones."""
    return st.sampled_from(strategies).flatmap(lambda strategy: strategy)


@dataclass(frozen=True)
class Offer:
    """The calls of one repository.

    ``lists`` are its list methods, in pages, with the arguments that together show all. Its first
    save is ``ordered`` if many at the same time have an order: of one key the last submitted stays,
    and none is refused because of another. ``before`` is what its saves refer to.
    """

    name: str
    saves: Calls = field(repr=False)
    others: Calls = field(repr=False)
    lists: tuple[Call, ...] = ()
    ordered: bool = False
    before: tuple[Call, ...] = ()

    def changes(self) -> list[st.SearchStrategy[Call]]:
        return [one.map(self.own) for one in self.saves]

    def all(self) -> st.SearchStrategy[Call]:
        """Half of them change something."""
        others = [one.map(self.own) for one in self.others]
        return chosen(chosen(*self.changes()), chosen(*others))

    def own(self, one: Call) -> Call:
        return replace(one, repository=self.name)
