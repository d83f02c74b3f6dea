"""Read the environment and YAML files, which may hold a URL with other settings beside it."""

from __future__ import annotations

import contextlib
import getpass
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from holdfast.config.models import BACKENDS, PostgresConfig, SQLiteConfig
from holdfast.config.urls import read_url
from holdfast.errors import InvalidArgumentError


class _Environment(BaseSettings):
    """Only tells pydantic-settings the names; the values are validated by `PersistenceConfig`."""

    model_config = SettingsConfigDict(
        env_prefix="HOLDFAST_", env_nested_delimiter="__", env_ignore_empty=True
    )
    url: SecretStr | None = None
    backend: str | None = None
    tenant: str | None = None
    sqlite: SQLiteConfig | None = None
    postgres: PostgresConfig | None = None


def read_environment() -> dict[str, Any]:
    """The fields that ``HOLDFAST_*`` variables set, not validated yet."""
    for section, model in (("SQLITE", SQLiteConfig), ("POSTGRES", PostgresConfig)):
        for field in model.model_fields:
            name = f"HOLDFAST_{section}_{field.upper()}"
            # Not PORT: Kubernetes sets it for a service called "holdfast-postgres".
            if field != "port" and name in os.environ:
                raise InvalidArgumentError(
                    f"{name} is not read: write HOLDFAST_{section}__{field.upper()}"
                )
    try:
        found = EnvSettingsSource(_Environment)()
    except SettingsError:
        found = None  # raised below: the error holds the value
    if found is None:
        raise InvalidArgumentError("a value is not valid JSON; set the fields one by one")
    chosen = found.get("backend", "sqlite")
    for other in BACKENDS:
        if "url" not in found and chosen in BACKENDS and other != chosen and other in found:
            raise InvalidArgumentError(
                f"HOLDFAST_{other.upper()}__* is set, but HOLDFAST_BACKEND is not {other!r}"
            )
    return _with_url(found)


def read_yaml(path: Path) -> dict[str, Any]:
    """The fields that the file sets, not validated yet."""
    problem = ""
    try:
        data = yaml.safe_load(path.read_bytes())
    except OSError as error:
        problem = f"cannot be read: {error.strerror or type(error).__name__}"
    except yaml.MarkedYAMLError as error:  # its message quotes the file
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = f"not valid YAML{where}; text with special characters needs quotes"
    except (yaml.YAMLError, RecursionError, ValueError):
        problem = "not valid YAML: not text in UTF-8, or a value that cannot be read"
    if problem:
        raise InvalidArgumentError(problem)
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise InvalidArgumentError("must be a mapping of names to values, from its line 1 on")
    return _with_url(data)


def _with_url(data: dict[str, Any]) -> dict[str, Any]:
    """Join ``url`` with the fields beside it; each setting may be given once."""
    url = data.pop("url", None)
    if url is None:
        return data
    if not isinstance(url, str):
        raise InvalidArgumentError("url: must be text")
    found = read_url(url)
    backend = found["backend"]
    for name, value in data.items():
        if name == "backend" and value == backend:
            continue
        if name == backend and isinstance(value, Mapping):
            repeated = sorted(found[backend].keys() & value.keys())
            if repeated:
                raise InvalidArgumentError(f"{backend}.{repeated[0]}: is in the url already")
            found[backend] |= value
        elif name in found or name in ("backend", *BACKENDS):
            raise InvalidArgumentError(f"{name}: contradicts or repeats the url")
        else:
            found[name] = value
    return found


def libpq_defaults() -> dict[str, str]:
    """User and password where nothing names them, as libpq finds them."""
    found = {"password": os.environ.get("PGPASSWORD", "")}
    # No such user in the system: then the field is missing, and said to be.
    with contextlib.suppress(KeyError, OSError):
        found["username"] = os.environ.get("PGUSER") or getpass.getuser()
    return found


def explain(error: ValidationError) -> Iterator[str]:
    """Field and rule of each problem, without the values."""
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(map(str, item["loc"]))
        rule = item["msg"].removeprefix("Value error, ")
        yield f"{place}: {rule}" if place else rule
