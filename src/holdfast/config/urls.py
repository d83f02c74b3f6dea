"""Read and write the URL of a database.

Not with ``urlsplit``: its messages quote what they refuse, and a mistyped URL can have its password
anywhere (an unescaped ``/`` or ``#`` moves the rest of it into the path). It also drops tabs and
line ends without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from pydantic import BaseModel, SecretStr

from holdfast.config.models import PostgresConfig, SQLiteConfig
from holdfast.errors import InvalidArgumentError

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?"
)
_PLACE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\],]*)(?::(?P<port>[0-9]{1,5}))?")
_OTHER_NAMES = {
    "connect_timeout": "connect_timeout_seconds",
    "dbname": "database",
    "schema": "schema_name",
    "sslmode": "ssl_mode",
    "sslrootcert": "ssl_root_cert",
    "user": "username",
}
_ESCAPE = "percent-encode @ / ? # % and control characters in names and passwords (# is %23)"


def read_url(url: str | SecretStr) -> dict[str, Any]:
    """The fields of `PersistenceConfig` that the URL sets, not validated yet."""
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    if "#" in text or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise InvalidArgumentError(f"the URL holds a character it must not: {_ESCAPE}")
    parts = _URL.fullmatch(text)
    if parts is None:
        raise InvalidArgumentError(
            "the URL has no scheme: begin with sqlite:/// or postgresql://, or percent-encode it"
        )
    scheme = parts["scheme"].lower()
    path = (parts["path"] or "")[1:]
    if scheme == "sqlite":
        backend = "sqlite"
        fields = _sqlite_place(parts["authority"], path)
    elif scheme in ("postgresql", "postgres"):
        backend = "postgres"
        fields = _postgres_place(parts["authority"], path, parts["query"] or "")
    else:
        raise InvalidArgumentError(
            f"unknown URL scheme {scheme!r}: Holdfast knows sqlite:/// and postgresql:// "
            "(without a driver's name)"
        )
    found: dict[str, Any] = {"backend": backend, backend: fields}
    for name, value in _parameters(parts["query"] or "", backend):
        place = found if name == "tenant" else fields
        if name in place:
            raise InvalidArgumentError(f"the URL sets {name!r} twice")
        place[name] = value
    if fields.get("ssl_root_cert") == "system":  # libpq's word for what is the default here
        del fields["ssl_root_cert"]
    return found


def _sqlite_place(authority: str, path: str) -> dict[str, Any]:
    if authority or not path:
        raise InvalidArgumentError(
            "an SQLite URL has three slashes before a relative path (sqlite:///org.db), "
            "four before an absolute one, and sqlite:///:memory: for a database in memory"
        )
    return {"path": _decoded("path", path)}


def _postgres_place(authority: str, path: str, query: str) -> dict[str, Any]:
    userinfo, has_user, place = authority.rpartition("@")
    # An "@" or "/" further on means that a password holds one which ended the authority early.
    if "@" in path or "/" in path or "@" in query:
        raise InvalidArgumentError(f"the URL has an unexpected '@' or '/': {_ESCAPE}")
    first, *others = place.split(",")
    where = _PLACE.fullmatch(first)
    if where is None or not all(other and _PLACE.fullmatch(other) for other in others):
        raise InvalidArgumentError(
            f"host and port of the URL cannot be read; write host:5432 or [::1]:5432, several "
            f"with commas between them, and {_ESCAPE}"
        )
    username, has_password, password = userinfo.partition(":")
    given = {
        "username": username if has_user else "",
        "host": where["host"].strip("[]"),
        "port": where["port"],
        "database": path,
    }
    fields: dict[str, Any] = {name: _decoded(name, text) for name, text in given.items() if text}
    if others:
        fields["fallback_hosts"] = _decoded("fallback_hosts", ",".join(others))
    if has_password:
        fields["password"] = _decoded("password", password)
    return fields


def _parameters(query: str, backend: str) -> Iterator[tuple[str, str]]:
    model: type[BaseModel] = PostgresConfig if backend == "postgres" else SQLiteConfig
    known = {"tenant", *model.model_fields}
    for item in filter(None, query.split("&")):
        name, _, value = item.partition("=")
        field = _OTHER_NAMES.get(name, name) if backend == "postgres" else name
        if field not in known:
            # A name is echoed only if it looks like one: else it may be a piece of a password.
            shown = f" {name!r}" if re.fullmatch("[A-Za-z_]{1,40}", name) and "=" in item else ""
            raise InvalidArgumentError(
                f"unknown URL parameter{shown}; known are {', '.join(sorted(known))}"
            )
        yield field, _decoded(field, value)


def _decoded(name: str, text: str) -> str:
    if re.search("%(?![0-9A-Fa-f]{2})", text) is None:
        try:
            return unquote_to_bytes(text).decode()
        except UnicodeError:
            pass  # raised below: this error holds the bytes
    raise InvalidArgumentError(f"{name} in the URL is not percent-encoded UTF-8: write % as %25")


def write_url(settings: SQLiteConfig | PostgresConfig, tenant: str) -> str:
    """The URL `read_url` reads these settings from, but with ``***`` for the password."""
    parameters: dict[str, object] = {} if tenant == "default" else {"tenant": tenant}
    if isinstance(settings, SQLiteConfig):
        start = f"sqlite:///{quote(settings.path, safe='/:')}"
        in_place = {"path"}
    else:
        host = settings.host
        where = f"[{host}]" if ":" in host else quote(host, safe="")
        where = f"{where}:{settings.port}"
        in_place = {"host", "port", "database", "username", "password"}
        if host.startswith("/"):
            where, parameters["host"], parameters["port"] = "", host, settings.port
        elif settings.fallback_hosts:
            where = ",".join((where, *settings.fallback_hosts))
            in_place.add("fallback_hosts")
        secret = ":***" if settings.password.get_secret_value() else ""
        user, database = quote(settings.username, safe=""), quote(settings.database, safe="")
        start = f"postgresql://{user}{secret}@{where}/{database}"
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name not in in_place and value != field.default:
            parameters[name] = ",".join(value) if isinstance(value, tuple) else value
    query = "&".join(
        f"{name}={quote(str(value), safe='/:,[]')}" for name, value in parameters.items()
    )
    return f"{start}?{query}" if query else start
