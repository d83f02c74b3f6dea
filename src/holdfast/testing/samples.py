"""Valid instances of any entity, yours too, made from its annotations. Needs Hypothesis.

::

    from holdfast.testing import samples

    samples.full(Task)                        # every field set, with text that is hard to store
    samples.required(Task, title="x")         # only what has no default, and a title

    @given(samples.strategy_for(Task, project=st.just("p")))
    async def test_that_any_task_comes_back(task): ...

A rule between fields cannot be read from annotations. `full` and `required` look for values that
keep it, `strategy_for` throws away what breaks it, and where that is not enough, say how to keep
it::

    def fit(values):
        if not values.get("parcels"):
            values["weight"] = 0.0
        return values

    samples.register(Shipment, fit)
"""

from __future__ import annotations

import holdfast.testing.extra  # noqa: F401 - before what it looks for

# isort: split

from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations, islice, product
from typing import Any, Literal, TypeVar

from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from holdfast.testing import rules
from holdfast.testing.forms import Form, Place, RecursiveModelError, SampleError, UnknownTypeError
from holdfast.testing.leaves import MISSING

__all__ = ["SampleError", "full", "register", "required", "strategy_for"]

E = TypeVar("E", bound=BaseModel)
Fit = Callable[[dict[str, Any]], dict[str, Any]]
_Mode = Literal["full", "required"]

_fits: dict[type[BaseModel], Fit] = dict(rules.FITS)
#: Of the ways to choose among the values of enumerations, literals and booleans.
_TRIES = 2_000


def register(kind: type[BaseModel], fit: Fit) -> None:
    """Have ``fit`` repair the values of ``kind`` and its subclasses so that its rules hold.

    It gets them by field name, as an instance holds them: all fields for `full` and
    `strategy_for`, for `required` those without a default and those passed. It may change the
    dict that it returns. Fields a caller passed are put back afterwards. The fit of a base class
    runs before that of a subclass; a second one for the same class replaces the first.
    """
    _fits[kind] = fit


def strategy_for(kind: type[E], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[E]:
    """Valid instances with values as wide as the annotations allow, every field chosen.

    ``fields`` replace the strategies of single fields. What breaks a rule between fields is
    rejected, so a rule that few values keep wants a `register`. `SampleError` at once for a field
    of a type not understood, and when drawing, for a passed value its field refuses.
    """
    _known(kind, fields)
    return _instances(kind, fields, (kind,))


def full(kind: type[E], **fields: Any) -> E:
    """The same instance each time: every field set, none to its default, models within it too.

    Where rules forbid that, as many fields as are possible. Sequences have two elements at least,
    if they may, and text is unlike that of other fields and hard to store. ``fields`` are taken
    as they are. `SampleError` if no such instance was found.
    """
    return _sample(kind, "full", fields, Place(inside=(kind,)))


def required(kind: type[E], **fields: Any) -> E:
    """The same instance each time: only the fields without a default, and ``fields``.

    Where rules need more fields, a registered fit adds them. `SampleError` if no such instance
    was found.
    """
    return _sample(kind, "required", fields, Place(inside=(kind,)))


def _known(kind: type[BaseModel], fields: dict[str, Any]) -> None:
    if unknown := sorted(fields.keys() - kind.model_fields.keys()):
        raise TypeError(f"{kind.__name__} has no field {', '.join(unknown)}")


@cache
def _form(kind: type[BaseModel], name: str) -> Form:
    info = kind.model_fields[name]
    return Form(info.annotation, tuple(info.metadata), kind.model_config)


@cache
def _checks(kind: type[BaseModel], name: str) -> bool:
    """Whether methods of the class validate the field."""
    validators = kind.__pydantic_decorators__.field_validators.values()
    return any({name, "*"} & set(validator.info.fields) for validator in validators)


def _accepts(kind: type[BaseModel], name: str, value: Any) -> bool:
    """Whether a value passes the validators of its field, methods of the class among them."""
    if not _checks(kind, name):
        return True
    try:
        kind.model_validate({name: value}, by_name=True, by_alias=True)
    except ValidationError as error:
        return all(detail["loc"][:1] != (name,) for detail in error.errors())
    return True


def _instances(
    kind: type[E], passed: dict[str, st.SearchStrategy[Any]], inside: tuple[type[BaseModel], ...]
) -> st.SearchStrategy[E]:
    parts = {
        name: passed[name] if name in passed else _strategy(kind, name, inside)
        for name in kind.model_fields
    }

    def build(values: dict[str, Any]) -> Any:
        given = {name: _held(kind, name, values[name]) for name in passed}
        try:
            return _build(kind, values | given, given)
        except ValidationError as error:
            _blame(kind, error, given)
            return MISSING

    return st.fixed_dictionaries(parts).map(build).filter(lambda made: made is not MISSING)


@cache
def _strategy(
    kind: type[BaseModel], name: str, inside: tuple[type[BaseModel], ...]
) -> st.SearchStrategy[Any]:
    def within(model: type[BaseModel]) -> st.SearchStrategy[Any]:
        if inside.count(model) > 1:  # one in another of its kind is deep enough
            raise RecursiveModelError(f"{model.__name__} holds itself")
        return _instances(model, {}, (*inside, model))

    try:
        made = _form(kind, name).strategy(within)
    except UnknownTypeError as error:
        raise _pass(kind, name, error) from None
    return made.filter(lambda value: _accepts(kind, name, value)) if _checks(kind, name) else made


def _held(kind: type[BaseModel], name: str, value: Any) -> Any:
    """A passed value as its field holds it; one that is refused stays, and is refused later."""
    held = _form(kind, name).accept(value)
    return value if held is MISSING else held


def _build(kind: type[E], values: dict[str, Any], passed: dict[str, Any], *, fit: bool = True) -> E:
    if fit:
        for base in reversed(kind.__mro__):
            if base in _fits:
                values = _fits[base](dict(values)) | passed
    return kind.model_validate(values, by_name=True, by_alias=True)


def _blame(kind: type[BaseModel], error: ValidationError, passed: dict[str, Any]) -> None:
    """Raise if a passed value is what was refused."""
    refused = [detail for detail in error.errors() if set(detail["loc"][:1]) & passed.keys()]
    if refused:
        wrong = "; ".join(f"{kind.__name__}.{d['loc'][0]}: {d['msg']}" for d in refused)
        raise SampleError(f"what was passed is not valid: {wrong}") from error


def _pass(kind: type[BaseModel], name: str, error: SampleError) -> UnknownTypeError:
    return UnknownTypeError(f"{kind.__name__}.{name}: {error}; pass the field")


def _sample(kind: type[E], mode: _Mode, passed: dict[str, Any], place: Place) -> E:
    _known(kind, passed)
    passed = {name: _held(kind, name, value) for name, value in passed.items()}
    offers = _offers(kind, mode, passed, place)
    wanted = _wanted(kind, mode, offers, passed)
    best, most, failure = None, -1, None
    # What needs no repair comes first: a repair may unset a field, or set one too many.
    for fit in (False, True):
        for values in _assignments(offers):
            try:
                made = _build(kind, values | passed, passed, fit=fit)
            except ValidationError as error:
                _blame(kind, error, passed)
                failure = error
                continue
            if (score := wanted(made)) > most:
                best, most = made, score
            if score == len(kind.model_fields):
                return made
    if best is None:
        raise SampleError(_explain(kind, mode, failure)) from failure
    return best


def _explain(kind: type[BaseModel], mode: _Mode, failure: ValidationError | None) -> str:
    assert failure is not None  # noqa: S101 - there is always a first try
    broken = "; ".join(
        ".".join((kind.__name__, *map(str, d["loc"]))) + f": {d['msg']}" for d in failure.errors()
    )
    rules_of = ", ".join(kind.__pydantic_decorators__.model_validators) or "its fields"
    return (
        f"found no {mode} sample of {kind.__name__} that keeps its rules ({rules_of}): {broken}. "
        f"Teach them with holdfast.testing.samples.register({kind.__name__}, fit), or pass fields."
    )


def _offers(
    kind: type[BaseModel], mode: _Mode, passed: dict[str, Any], place: Place
) -> dict[str, tuple[Any, ...]]:
    """The values to try for each field, the best first: several only where they are few."""

    def within(model: type[BaseModel], where: Place) -> BaseModel:
        if model in where.inside:
            raise RecursiveModelError(f"{model.__name__} holds itself")
        inner = Place(where.name, where.index, inside=(*where.inside, model))
        return _sample(model, mode, {}, inner)

    offers: dict[str, tuple[Any, ...]] = {}
    for index, (name, info) in enumerate(kind.model_fields.items()):
        if name in passed or (mode == "required" and not info.is_required()):
            continue
        form = _form(kind, name)
        where = Place(f"{place.name} {name}".strip(), place.index + index, 0, place.inside)
        try:
            found = _offered(kind, name, form.candidates(where, within))
            values = tuple(found) if form.is_choice else tuple(islice(found, 1))
        except UnknownTypeError as error:
            raise _pass(kind, name, error) from None
        if not values:
            raise _pass(kind, name, UnknownTypeError("its validators refuse every known value"))
        offers[name] = values
    return offers


def _offered(kind: type[BaseModel], name: str, candidates: Iterator[Any]) -> Iterator[Any]:
    """Those the field accepts, its default last."""
    default, late = _default(kind, name), []
    for value in candidates:
        if not _accepts(kind, name, value):
            continue
        if default is not MISSING and value == default:
            late.append(value)
        else:
            yield value
    yield from late


def _default(kind: type[BaseModel], name: str) -> Any:
    info = kind.model_fields[name]
    if info.default_factory is not None:
        return MISSING if info.default_factory_takes_validated_data else info.default_factory()  # type: ignore[call-arg]
    return MISSING if info.default is PydanticUndefined else info.default


def _assignments(offers: dict[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """The best value everywhere, then all that differ from that in one field, then in two."""
    base = {name: values[0] for name, values in offers.items()}
    yield base
    open_fields = [name for name, values in offers.items() if len(values) > 1]
    others = (
        dict(zip(names, values, strict=True))
        for size in (1, 2)
        for names in combinations(open_fields, size)
        for values in product(*(offers[name][1:] for name in names))
    )
    for changes in islice(others, _TRIES):
        yield base | changes


def _wanted(
    kind: type[BaseModel], mode: _Mode, offers: dict[str, tuple[Any, ...]], passed: dict[str, Any]
) -> Callable[[BaseModel], int]:
    """How many fields of an instance are as they should be."""

    def right(made: BaseModel, name: str) -> bool:
        if name in passed:
            return True
        if mode == "required":
            return (name in offers) == (name in made.model_fields_set)
        default = _default(kind, name)
        # A literal of one value has no other than its default.
        return bool(offers[name][0] == default or getattr(made, name) != default)

    return lambda made: sum(right(made, name) for name in kind.model_fields)
