"""Configuration: the rules, the four ways in, and that no way shows a password."""

from __future__ import annotations

import getpass
import os
import pickle
import string
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

import holdfast
from holdfast.config import PersistenceConfig, PostgresConfig, SQLiteConfig
from holdfast.errors import InvalidArgumentError

CANARY = "hunter2canary"
LIBRARY = f"{Path(holdfast.__file__).parent}{os.sep}"


@pytest.fixture(autouse=True)
def _no_outer_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("HOLDFAST_", "PG")):
            monkeypatch.delenv(name)


def postgres(**fields: Any) -> PostgresConfig:
    given: dict[str, Any] = {"database": "org", "username": "ann", "password": CANARY}
    return PostgresConfig(**(given | fields))


def server_of(config: PersistenceConfig) -> PostgresConfig:
    assert config.backend == "postgres"
    assert config.postgres is not None
    return config.postgres


def refused(call: Callable[[], object]) -> str:
    """The message of the refusal, after a search for the canary in all that a report could show."""
    with pytest.raises(InvalidArgumentError) as caught:
        call()
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.__cause__ is None
    assert error.__context__ is None
    frames = error.__traceback__
    while frames is not None and not frames.tb_frame.f_code.co_filename.startswith(LIBRARY):
        frames = frames.tb_next  # the test's own variables hold the canary
    assert frames is not None
    shown = "".join(
        traceback.TracebackException(type(error), error, frames, capture_locals=True).format()
    )
    assert "problem = " in shown  # the search does look at variables
    for text in (shown, str(error), repr(error), str(pickle.dumps(error))):
        assert CANARY not in text
    return str(error)


# -- fields ----------------------------------------------------------------------------------------


def test_defaults() -> None:
    config = PersistenceConfig()
    assert (config.backend, config.tenant, config.postgres) == ("sqlite", "default", None)
    assert config.sqlite.path == "holdfast.db"
    assert config.sqlite.wal_mode is True
    assert config.sqlite.journal_size_limit == 67_108_864
    assert config.sqlite.synchronous == "full"
    server = postgres()
    assert (server.host, server.port, server.application_name) == ("localhost", 5432, "holdfast")
    assert (server.pool_min_size, server.pool_max_size) == (1, 10)
    assert (server.pool_timeout_seconds, server.connect_timeout_seconds) == (30.0, 10.0)
    assert server.statement_timeout_ms == 30_000
    assert server.synchronous_commit == "on"


@pytest.mark.parametrize(
    "path",
    ["../x.db", "a/../x.db", "a\\..\\x.db", "/srv/..", "", " ", "a\0b", ":memory", "memory:",
     ":MEMORY:", "::memory:", "/:memory:", "./:memory:", "a/memory:", "~", "~/x.db", "~ann/x.db",
     "~\\x.db", "file:x.db", "file::memory:", "x.db/", "data\\", " x.db", "x.db ", "x.db\n",
     "a.db-wal", "a.db-shm", "a.db-journal", "a.db-mark", "a.db-checkpoint", "/srv/a-WAL", "-wal"],
)  # fmt: skip
def test_paths_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        SQLiteConfig(path=path)


@pytest.mark.parametrize(
    "path",
    [
        ":memory:",
        "/srv/org.db",
        "C:\\data\\org.db",
        "a..b/..c",
        "memory",
        "memory.db",
        "a/memory",
        "./~/x.db",
        "/srv/~x",
        "org~1.db",
        "a b.db",
        "file.db",
        "C:memory",
        "\u00fcber.db",
    ],
)
def test_paths_taken(path: str) -> None:
    assert SQLiteConfig(path=path).path == path


@pytest.mark.parametrize(
    "fields",
    [
        {"journal_size_limit": -1}, {"readers": 0}, {"readers": 65}, {"checkpoint_bytes": 0},
        {"unknown": 1},
        {"busy_timeout_seconds": float("nan")}, {"busy_timeout_seconds": -1},
        {"synchronous": "off"}, {"pool_timeout_seconds": 0},
    ],
)  # fmt: skip
def test_sqlite_rules(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SQLiteConfig(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "a b"}, {"host": ""}, {"username": "a\tb"}, {"database": "a\x01b"},
        {"database": "a\u2028b"}, {"port": 0}, {"port": 65536}, {"ssl_mode": "on"},
        {"pool_min_size": 0}, {"pool_max_size": 0}, {"pool_min_size": 11},
        {"pool_timeout_seconds": 0}, {"pool_timeout_seconds": float("inf")},
        {"connect_timeout_seconds": 0}, {"statement_timeout_ms": -1}, {"application_name": " "},
        {"synchronous_commit": "local"}, {"max_connection_age_seconds": 0},
        {"statement_cache_size": -1}, {"sslmode": "require"},
    ],
)  # fmt: skip
def test_postgres_rules_and_hidden_inputs(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        postgres(**fields)
    assert CANARY not in str(caught.value)
    assert "input_value" not in str(caught.value)


def test_frozen() -> None:
    with pytest.raises(ValidationError):
        SQLiteConfig().path = "other"  # type: ignore[misc]


def test_backend_names_and_needed_settings() -> None:
    with pytest.raises(ValueError, match="'postgres', 'sqlite'"):
        PersistenceConfig(backend="mysql")
    with pytest.raises(ValueError, match="needs the settings"):
        PersistenceConfig(backend="postgres")
    with pytest.raises(ValueError, match="tenant"):
        PersistenceConfig(tenant=" ")


@pytest.mark.parametrize(
    ("host", "mode"),
    [
        ("localhost", "prefer"), ("LocalHost.", "prefer"), ("127.0.0.1", "prefer"),
        ("127.9.9.9", "prefer"), ("::1", "prefer"), ("/run/postgresql", "prefer"),
        ("db.example", "verify-full"), ("10.0.0.1", "verify-full"), ("2001:db8::1", "verify-full"),
        ("localhost.example", "verify-full"), ("127.0.0.1.example", "verify-full"),
    ],
)  # fmt: skip
def test_ssl_mode_unset_is_strict_beyond_this_machine(host: str, mode: str) -> None:
    assert postgres(host=host).effective_ssl_mode == mode
    assert postgres(host=host, ssl_root_cert="ca.crt").effective_ssl_mode == "verify-full"
    assert postgres(host=host, ssl_mode="disable").effective_ssl_mode == "disable"
    assert postgres(host=host, ssl_mode="verify-ca").effective_ssl_mode == "verify-ca"


# -- URLs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///org.db", "org.db"),
        ("sqlite:///data/org.db", "data/org.db"),
        ("sqlite:////srv/org.db", "/srv/org.db"),
        ("sqlite:///:memory:", ":memory:"),
        ("sqlite:///my%20org%3F%23.db", "my org?#.db"),
        ("SQLite:///C:/org.db", "C:/org.db"),
    ],
)
def test_sqlite_urls(url: str, path: str) -> None:
    config = PersistenceConfig.from_url(url)
    assert (config.backend, config.sqlite.path) == ("sqlite", path)
    assert PersistenceConfig.from_url(config.safe_url) == config


def test_sqlite_parameters() -> None:
    config = PersistenceConfig.from_url(
        "sqlite:///o.db?readers=4&wal_mode=false&synchronous=normal&tenant=acme%20co"
    )
    assert config.tenant == "acme co"
    assert config.sqlite == SQLiteConfig(
        path="o.db", readers=4, wal_mode=False, synchronous="normal"
    )
    assert PersistenceConfig.from_url(config.safe_url) == config


def test_postgres_url_with_everything() -> None:
    config = PersistenceConfig.from_url(
        f"postgres://a%40n:{CANARY}%2F@db.example:6543/o%20rg".replace("%20", "%C3%A9")
        + "?sslmode=verify-ca&sslrootcert=/etc/ca.pem&connect_timeout=3&application_name=my%20app"
        "&pool_max_size=20&statement_timeout_ms=0&synchronous_commit=off&tenant=acme"
    )
    assert server_of(config) == PostgresConfig(
        host="db.example", port=6543, database="oérg", username="a@n",
        password=SecretStr(CANARY + "/"), ssl_mode="verify-ca", ssl_root_cert=Path("/etc/ca.pem"),
        connect_timeout_seconds=3, application_name="my app", pool_max_size=20,
        statement_timeout_ms=0, synchronous_commit="off",
    )  # fmt: skip
    assert config.tenant == "acme"
    again = PersistenceConfig.from_url(config.safe_url.replace("***", f"{CANARY}%2F"))
    assert again == config


@pytest.mark.parametrize(
    ("place", "host", "port"),
    [
        ("", "localhost", 5432), (":99", "localhost", 99), ("db", "db", 5432),
        ("[::1]:99", "::1", 99), ("[2001:db8::1]", "2001:db8::1", 5432),
        ("%2Frun%2Fpg", "/run/pg", 5432),
    ],
)  # fmt: skip
def test_hosts(place: str, host: str, port: int) -> None:
    config = PersistenceConfig.from_url(f"postgresql://ann:{CANARY}@{place}/org")
    assert (server_of(config).host, server_of(config).port) == (host, port)
    assert PersistenceConfig.from_url(config.safe_url.replace("***", CANARY)) == config


def test_unix_socket_and_libpq_parameters() -> None:
    config = PersistenceConfig.from_url(
        "postgresql:///?host=/run/pg&port=99&user=ann&dbname=org&sslrootcert=system"
    )
    server = server_of(config)
    assert (server.host, server.port, server.username, server.database) == (
        "/run/pg", 99, "ann", "org",
    )  # fmt: skip
    assert server.ssl_root_cert is None
    assert config.safe_url == "postgresql://ann@/org?host=/run/pg&port=99"


def test_user_and_password_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> tuple[str, str]:
        server = server_of(PersistenceConfig.from_url("postgresql://db/org"))
        return server.username, server.password.get_secret_value()

    assert found() == (getpass.getuser(), "")
    monkeypatch.setenv("PGUSER", "bob")
    monkeypatch.setenv("PGPASSWORD", CANARY)
    assert found() == ("bob", CANARY)
    given = server_of(PersistenceConfig.from_url("postgresql://ann:own@db/org"))
    assert (given.username, given.password.get_secret_value()) == ("ann", "own")

    def nobody() -> str:
        raise OSError("no such user")

    monkeypatch.delenv("PGUSER")
    monkeypatch.setattr(getpass, "getuser", nobody)
    assert "postgres.username" in refused(lambda: found())


def test_a_secret_url_is_taken() -> None:
    url = f"postgresql://ann:{CANARY}@db/org"
    assert PersistenceConfig.from_url(SecretStr(url)) == PersistenceConfig.from_url(url)


P = f"postgresql://ann:{CANARY}"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("org.db", "no scheme"),
        ("", "no scheme"),
        (f"{CANARY}", "no scheme"),
        ("sqlite://org.db", "three slashes"),
        ("sqlite://", "three slashes"),
        ("sqlite:///", "three slashes"),
        ("sqlite:///:memory", r"sqlite\.path: must be exactly ':memory:'"),
        ("sqlite:///%3Amemory", r"sqlite\.path: must be exactly ':memory:'"),
        ("sqlite:////:memory:", r"sqlite\.path: must be exactly ':memory:'"),
        ("sqlite://:memory:", "three slashes.*sqlite:///:memory:"),
        ("sqlite::memory:", "no scheme"),
        ("sqlite:///file::memory:?cache=shared", "unknown URL parameter 'cache'"),
        ("sqlite:///file:a.db?mode=ro", r"sqlite\.path: .*leave out 'file:'"),
        ("sqlite:///~/a.db", r"sqlite\.path: '~' is not expanded: .*in full \(/"),
        ("sqlite:///%7E/a.db", r"sqlite\.path: '~' is not expanded"),
        ("sqlite:///~ann/a.db", r"sqlite\.path: '~' is not expanded: .*in full, or"),
        ("sqlite:///a.db/", r"sqlite\.path: must name a file"),
        ("sqlite:////", r"sqlite\.path: must name a file"),
        ("sqlite:///a.db%20", r"sqlite\.path: .*blank"),
        ("sqlite:///%2e%2e/a.db", r"sqlite\.path: must not contain a '\.\.'"),
        ("sqlite:///a.db?mode=rx", r"sqlite\.mode: .*'rwc', 'rw' or 'ro'"),
        ("sqlite:///:memory:?mode=ro", "leave mode out"),
        ("sqlite:///a.db?immutable=1", "unknown URL parameter 'immutable'"),
        ("sqlite:///a.db-wal", r"sqlite\.path: must not end in -wal, .*the database beside it"),
        ("sqlite:///a/../b.db", r"sqlite\.path: must not contain a '\.\.'"),
        ("sqlite:///a.db?reader=3", "unknown URL parameter 'reader'.*readers"),
        ("sqlite:///a.db?host=db", "unknown URL parameter 'host'"),
        ("sqlite:///a.db?readers=0", r"sqlite\.readers: .*greater than or equal to 1"),
        ("sqlite:///a.db?readers=many", r"sqlite\.readers: .*valid integer"),
        ("sqlite:///a.db?path=b.db", "'path' twice"),
        (f"mysql://ann:{CANARY}@db/org", "unknown URL scheme 'mysql'.*postgresql://"),
        (f"postgresql+asyncpg://ann:{CANARY}@db/org", "'postgresql\\+asyncpg'.*driver"),
        (f"{P}@db", r"postgres\.database: Field required"),
        (f"{P}@db/", r"postgres\.database: Field required"),
        (f"{P}@db:port/org", "host and port"),
        (f"{P}@db:123456/org", "host and port"),
        (f"{P}@db:99999/org", r"postgres\.port: .*65535"),
        (f"{P}@db1,/org", "host and port"),
        (f"{P}@db1,db2:port/org", "host and port"),
        (f"{P}@db1/org?replicas=db2:port", r"postgres\.replicas\.0: .*host:port"),
        (f"{P}@db1/org?direct_host=db2,db3", r"postgres\.direct_host: .*host:port"),
        (f"{P}@[::1/org", "host and port"),
        (f"{P}@db\uff0fx:y/org", "host and port"),  # urlsplit would quote the whole place here
        (f"{P}#x@db/org", "%23"),
        (f"postgresql://ann:12/{CANARY}@db/org", "percent-encode"),
        (f"postgresql://ann:12?{CANARY}@db/org", "percent-encode"),
        (f"postgresql://ann:12/a?{CANARY}@db/org", "percent-encode"),
        (f"postgresql://ann:12/{CANARY}/db/org", "percent-encode"),
        (f"postgresql://ann:12/org?{CANARY}", "unknown URL parameter;"),
        (f"postgresql://ann:{CANARY}/org", "host and port"),
        (f"{P}%@db/org", "password.*%25"),
        (f"{P}%ff@db/org", "password.*UTF-8"),
        (f"{P}\n@db/org", "control"),
        (f"{P}@db/org\n", "control"),
        (f"{P}@db/org?sslmode=on", r"postgres\.ssl_mode: .*'verify-full'"),
        (f"{P}@db/org?pool_max_size=1&pool_min_size=2", "pool_max_size must not be below"),
        (f"{P}@db/org?sslmode=require&ssl_mode=prefer", "'ssl_mode' twice"),
        (f"{P}@db/org?password={CANARY}", "'password' twice"),
        (f"{P}@db/org?channel_binding={CANARY}", "unknown URL parameter 'channel_binding'"),
        (f"{P}@db/org?tenant=", "tenant"),
        (f"{P}@db/o%20rg", r"postgres\.database: must not contain whitespace"),
    ],
)
def test_urls_refused(url: str, says: str) -> None:
    message = refused(lambda: PersistenceConfig.from_url(url))
    with pytest.raises(InvalidArgumentError, match=says):
        raise InvalidArgumentError(message)


WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
SECRETS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
HOSTS = st.one_of(
    st.text(string.ascii_letters + string.digits + ".-_", min_size=1, max_size=30),
    st.ip_addresses().map(str),
    WORDS.map("/run/{}".format),
)


@given(WORDS, SECRETS, HOSTS, st.integers(1, 65535), WORDS, WORDS)
def test_round_trip(
    user: str, password: str, host: str, port: int, database: str, tenant: str
) -> None:
    def escape(text: str) -> str:
        return quote(text, safe="")

    place = f"[{host}]" if ":" in host and not host.startswith("/") else escape(host)
    config = PersistenceConfig.from_url(
        f"postgresql://{escape(user)}:{escape(password)}@{place}:{port}/{escape(database)}"
        f"?tenant={escape(tenant)}"
    )
    server = server_of(config)
    assert (server.username, server.host, server.port) == (user, host, port)
    assert (server.password.get_secret_value(), server.database) == (password, database)
    assert config.tenant == tenant
    again = PersistenceConfig.from_url(config.safe_url.replace(":***@", f":{escape(password)}@"))
    assert again == config


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_no_text_makes_anything_but_a_clean_refusal(text: str) -> None:
    for url in (text, f"postgresql://{text}", f"postgresql://ann:{text}{CANARY}@db/org?{text}"):
        try:
            config = PersistenceConfig.from_url(url)
        except InvalidArgumentError as error:
            assert CANARY not in str(error)  # noqa: PT017
        else:
            if CANARY in url:
                assert CANARY not in config.safe_url
                assert CANARY not in repr(config)


def test_the_password_is_shown_nowhere() -> None:
    config = PersistenceConfig.from_url(f"{P}@db.example/org?sslmode=require")
    assert config.safe_url == "postgresql://ann:***@db.example:5432/org?ssl_mode=require"
    assert server_of(config).password.get_secret_value() == CANARY
    for shown in (
        repr(config), str(config), config.model_dump_json(), str(config.model_dump()),
        config.safe_url, repr(config.postgres), f"{config:}",
    ):  # fmt: skip
        assert CANARY not in shown


def test_a_pickle_carries_no_password() -> None:
    config = PersistenceConfig.from_url("postgresql://app:canary@db/org")
    for value in (config, config.postgres):
        data = pickle.dumps(value)
        assert b"canary" not in data
    copy = pickle.loads(pickle.dumps(config))  # noqa: S301
    assert server_of(copy).password.get_secret_value() == ""
    assert copy.safe_url.replace("app@", "app:***@") == config.safe_url
    assert server_of(config.model_copy(deep=True)).password.get_secret_value() == "canary"


# -- environment -----------------------------------------------------------------------------------


@pytest.fixture
def setenv(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_all(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"HOLDFAST_{name}", value)

    return set_all


def test_empty_environment_is_the_default_file(setenv: Callable[..., None]) -> None:
    assert PersistenceConfig.from_env() == PersistenceConfig()
    setenv(URL="", BACKEND="", SOMETHING_ELSE="1", PORT="tcp://10.0.0.1:80")
    assert PersistenceConfig.from_env() == PersistenceConfig()


def test_environment_by_field(setenv: Callable[..., None]) -> None:
    setenv(SQLITE__PATH="org.db", SQLITE__READERS="3", TENANT="acme")
    assert PersistenceConfig.from_env() == PersistenceConfig(
        tenant="acme", sqlite=SQLiteConfig(path="org.db", readers=3)
    )


@pytest.mark.parametrize("password", [CANARY, "12345", "null", "true", '{"a": 1}', "[1]", " x "])
def test_environment_for_postgres(setenv: Callable[..., None], password: str) -> None:
    setenv(
        BACKEND="postgres", POSTGRES__HOST="db", POSTGRES__DATABASE="org", POSTGRES__USERNAME="ann",
        POSTGRES__PASSWORD=password, POSTGRES__SSL_ROOT_CERT="/etc/ca.pem",
    )  # fmt: skip
    server = server_of(PersistenceConfig.from_env())
    assert (server.host, server.username) == ("db", "ann")
    assert server.password.get_secret_value() == password
    assert server.ssl_root_cert == Path("/etc/ca.pem")


def test_environment_url_and_what_it_leaves_out(setenv: Callable[..., None]) -> None:
    setenv(URL="postgresql://ann@db/org", POSTGRES__PASSWORD=CANARY, TENANT="acme")
    config = PersistenceConfig.from_env()
    assert config.tenant == "acme"
    assert server_of(config) == postgres(host="db")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"URL": f"postgresql://ann:{CANARY}@db:x/org"}, "host and port"),
        ({"URL": f"{P}@db/org", "POSTGRES__HOST": "other"}, r"postgres\.host: is in the url"),
        ({"URL": f"{P}@db/org", "POSTGRES__PASSWORD": CANARY}, r"postgres\.password: is in"),
        ({"URL": f"{P}@db/org", "SQLITE__PATH": "x"}, "sqlite: contradicts"),
        ({"URL": f"{P}@db/org", "BACKEND": "sqlite"}, "backend: contradicts"),
        ({"URL": f"{P}@db/org?tenant=a", "TENANT": "b"}, "tenant: contradicts"),
        ({"POSTGRES__HOST": CANARY}, "HOLDFAST_BACKEND is not 'postgres'"),
        ({"BACKEND": "postgres", "SQLITE__PATH": "x"}, "HOLDFAST_BACKEND is not 'sqlite'"),
        ({"POSTGRES_HOST": "db"}, "HOLDFAST_POSTGRES__HOST"),
        ({"SQLITE_PATH": "x"}, "HOLDFAST_SQLITE__PATH"),
        ({"BACKEND": "mysql"}, "backend: must be one of 'postgres', 'sqlite'"),
        ({"BACKEND": "postgres"}, "needs the settings"),
        ({"SQLITE__PATHH": "x"}, r"sqlite\.pathh: Extra"),
        ({"SQLITE__READERS": CANARY}, r"sqlite\.readers: .*integer"),
        ({"BACKEND": "postgres", "POSTGRES": f'{{"password": "{CANARY}"'}, "postgres"),
    ],
)
def test_environments_refused(
    setenv: Callable[..., None], values: dict[str, str], says: str
) -> None:
    setenv(**values)
    message = refused(PersistenceConfig.from_env)
    assert message.startswith("environment HOLDFAST_*: ")
    with pytest.raises(InvalidArgumentError, match=says):
        raise InvalidArgumentError(message)


def test_environment_password_from_libpq_is_hidden_in_refusals(
    setenv: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", CANARY)
    setenv(URL="postgresql://ann@db/org?port=0", POSTGRES__POOL_MAX_SIZE="0")
    message = refused(PersistenceConfig.from_env)
    assert "postgres.port" in message
    assert "postgres.pool_max_size" in message


# -- YAML ------------------------------------------------------------------------------------------


def test_yaml_by_field_and_by_url(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_text(
        "backend: postgres\ntenant: acme\npostgres:\n  host: db\n  database: org\n"
        f"  username: ann\n  password: {CANARY}\n"
    )
    expected = PersistenceConfig(backend="postgres", tenant="acme", postgres=postgres(host="db"))
    assert PersistenceConfig.from_yaml(file) == expected
    file.write_text(f"url: {P}@db/org\ntenant: acme\nbackend: postgres\n")
    assert PersistenceConfig.from_yaml(str(file)) == expected
    file.write_text(f"url: postgresql://ann@db/org?tenant=acme\npostgres: {{password: {CANARY}}}\n")
    assert PersistenceConfig.from_yaml(file) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must be a mapping"),
        (f"- {CANARY}", "must be a mapping"),
        (CANARY, "must be a mapping"),
        ("1: 2", "must be a mapping"),
        ("backend: sqlite\nsqlite: {path: [}\n", "line 2"),
        (f"tenant: acme\npostgres:\n  password: *{CANARY}\n", "line 3"),
        (f"tenant: acme\npostgres:\n  password: !{CANARY} x\n", "line 3"),
        (f"a: '{CANARY}", "not valid YAML"),
        (f"tenant: 2020-99-99 {CANARY}: x", "not valid YAML"),
        ("tenant: \x01", "not valid YAML"),
        ("tenant: 2020-99-99", "not valid YAML"),
        ("tenant: 5", "tenant: .*valid string"),
        ("sqlite: 5", "sqlite: .*dictionary"),
        ("url: 5", "url: must be text"),
        (f"url: {P}@db:x/org", "host and port"),
        ("sqlite: {pat: x}", r"sqlite\.pat: Extra"),
        (f"backend: postgres\npostgres: {{database: a, username: b, password: [{CANARY}]}}",
         r"postgres\.password: .*valid string"),
        (f"url: sqlite:///x.db\npostgres: {{password: {CANARY}}}", "postgres: contradicts"),
    ],
)  # fmt: skip
def test_yaml_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_text(text)
    message = refused(lambda: PersistenceConfig.from_yaml(file))
    assert message.startswith(f"{file}: ")
    with pytest.raises(InvalidArgumentError, match=says):
        raise InvalidArgumentError(message)


def test_yaml_unreadable(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    assert refused(lambda: PersistenceConfig.from_yaml(missing)) == (
        f"{missing}: cannot be read: No such file or directory"
    )
    assert "cannot be read" in refused(lambda: PersistenceConfig.from_yaml(tmp_path))
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: \xff\xfe" + CANARY.encode())
    assert "not valid YAML" in refused(lambda: PersistenceConfig.from_yaml(binary))


# -- several servers ---------------------------------------------------------------------------


def test_a_url_names_several_servers() -> None:
    config = PersistenceConfig.from_url(
        "postgresql://ann@db1:5433,db2,[::1]:5434/org?replicas=db3,db4:5435"
    )
    server = config.postgres
    assert server is not None
    assert server.servers == (("db1", 5433), ("db2", 5433), ("::1", 5434))
    assert [server.place(place) for place in server.replicas] == [("db3", 5433), ("db4", 5435)]
    assert server.needs_primary
    assert PersistenceConfig.from_url(config.safe_url.replace(":***", "")) == config


@pytest.mark.parametrize(
    ("query", "wanted"),
    [("", False), ("?target_session_attrs=read-write", True), ("?fallback_hosts=db2", True),
     ("?fallback_hosts=db2&target_session_attrs=any", False)],
)  # fmt: skip
def test_a_primary_is_asked_for_where_there_is_a_choice(query: str, wanted: bool) -> None:
    server = PersistenceConfig.from_url(f"postgresql://ann@db1/org{query}").postgres
    assert server is not None
    assert server.needs_primary is wanted


def test_a_server_beyond_this_machine_wants_verified_tls() -> None:
    for query in ("fallback_hosts=db2", "replicas=db2:1", "direct_host=db2"):
        server = PersistenceConfig.from_url(f"postgresql://ann@127.0.0.1/org?{query}").postgres
        assert server is not None
        assert server.effective_ssl_mode == "verify-full"
