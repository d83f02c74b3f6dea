"""Every entity and every field of one is described, for `help()`, editors and JSON schemas."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from typing import Any

from holdfast import Entity, Task, entities

from . import things


def _made(base: type[Any]) -> Iterator[type[Any]]:
    """The classes of the entities' modules, those that others only inherit from included."""
    for module in things.modules(entities):
        for name, value in vars(module).items():
            own = inspect.isclass(value) and value.__module__ == module.__name__
            if own and issubclass(value, base) and "[" not in name:
                yield value


ENTITIES = list(_made(Entity))


def test_those_of_the_company_are_among_them() -> None:
    assert {entities.Task, entities.Company, entities.BudgetConfig} <= set(ENTITIES)


def test_every_entity_and_enumeration_has_a_docstring_of_its_own() -> None:
    bare = [kind.__name__ for kind in (*ENTITIES, *_made(Enum)) if not vars(kind).get("__doc__")]
    assert bare == []


def test_every_field_has_a_description() -> None:
    described = {
        f"{kind.__name__}.{name}": field.description or ""
        for kind in ENTITIES
        for fields in (kind.model_fields, kind.model_computed_fields)
        for name, field in fields.items()
    }
    assert [place for place, text in described.items() if not text.strip()] == []


def test_a_description_is_a_phrase_of_one_line() -> None:
    given = [(kind, *item) for kind in ENTITIES for item in kind.model_fields.items()]
    odd = [
        f"{kind.__name__}.{name}"
        for kind, name, field in given
        if "\n" in (text := field.description or "") or text.endswith(".") or len(text) > 90
    ]
    assert odd == []


def test_a_json_schema_shows_them() -> None:
    schema = Task.model_json_schema()
    assert schema["description"] == inspect.getdoc(Task)
    shown = {name: part.get("description") for name, part in schema["properties"].items()}
    assert shown == {name: field.description for name, field in Task.model_fields.items()}
