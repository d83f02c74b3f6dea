"""People, how they are let in, and what is configured."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from holdfast.entities import (
    ApiKey,
    Lockout,
    NotBlankStr,
    PresetListRow,
    RefreshRecord,
    Session,
    User,
)
from holdfast.testing.catalogue.parts import ONCE, backwards, its_id, its_owner, nth_name, turn
from holdfast.testing.subjects import Listed, Make, Subject

__all__ = ["SUBJECTS"]


class Preset(BaseModel, frozen=True):
    """What `custom_presets` stores, which has no entity."""

    name: NotBlankStr
    config_json: NotBlankStr
    description: str
    created_at: str
    updated_at: str


class Setting(BaseModel, frozen=True):
    """What `settings` stores, which has no entity."""

    namespace: NotBlankStr
    key: NotBlankStr
    value: str
    updated_at: str


async def _save_preset(presets: Any, preset: Any) -> None:
    await presets.save(**preset.model_dump())


async def _get_preset(presets: Any, preset: Any) -> Preset | None:
    row = await presets.get(preset.name)
    return None if row is None else Preset(name=preset.name, **row._asdict())


async def _save_setting(settings: Any, setting: Any) -> bool:
    done: bool = await settings.set(**setting.model_dump())
    return done


async def _get_setting(settings: Any, setting: Any) -> Setting | None:
    row = await settings.get(setting.namespace, setting.key)
    if row is None:
        return None
    return Setting(namespace=setting.namespace, key=setting.key, value=row[0], updated_at=row[1])


async def _its_session(backend: Any, token: Any, make: Make) -> None:
    await its_owner(backend, token, make)
    if await backend.sessions.get(token.session_id) is None:
        await backend.sessions.create(make(Session, id=token.session_id, user_id=token.user_id))


SUBJECTS: tuple[Subject[Any], ...] = (
    Subject(
        "users",
        User,
        keeps=("created_at",),
        find={"get_by_username": ("username",)},
        lists=(
            Listed(
                "list_users",
                order=("created_at", "id"),
                where=lambda user: user.role != "system",
                count="count",
            ),
        ),
        # The last CEO and the last owner would have to stay.
        tame={"role": "manager", "org_roles": ("department_admin", "editor")},
        fields={
            "username": backwards,
            "role": turn("manager", "observer", "system"),
            "org_roles": turn(()),
        },
        arguments={"after_id": lambda user: None},
        bad={"after_id": (7, "a\0", "\ud800")},
    ),
    Subject(
        "api_keys",
        ApiKey,
        keeps=("created_at",),
        belongs=("user_id",),
        prepare=its_owner,
        find={"get_by_hash": ("key_hash",)},
        lists=(Listed("list_by_user", order=("created_at", "id"), filters={"user_id": "user_id"}),),
        fields={"key_hash": backwards},
    ),
    Subject(
        "sessions",
        Session,
        **ONCE,
        belongs=("user_id",),
        save="create",
        prepare=its_owner,
        lists=(
            Listed(
                "list_by_user",
                order=("created_at", "id"),
                descending=True,
                filters={"user_id": "user_id"},
            ),
            Listed("list_all", order=("created_at", "id"), descending=True),
        ),
        arguments={"session_id": its_id},
        bad={"max_sessions": (-1, True, "5", 1.5, 2**63, None)},
        damage="expires_at = created_at",
    ),
    Subject(
        "refresh_tokens",
        RefreshRecord,
        key=("token_hash",),
        save=None,
        delete=None,
        prepare=_its_session,
        bad={"is_session_revoked": ()},
    ),
    Subject("lockouts", Lockout, key=("username",), save=None, delete=None, blank=("ip",)),
    Subject(
        "settings",
        Setting,
        key=("namespace", "key"),
        save=_save_setting,
        get=_get_setting,
        lists=(
            Listed(
                "get_namespace",
                order=("key",),
                filters={"namespace": "namespace"},
                answers=lambda one: (one.key, one.value, one.updated_at),
                place=lambda one: one.key,
            ),
            Listed(
                "get_all",
                order=("namespace", "key"),
                answers=lambda one: (one.namespace, one.key, one.value, one.updated_at),
            ),
        ),
        fields={"namespace": turn("n", "é", "m"), "key": nth_name},
        arguments={"items": lambda one: [(one.namespace, one.key, "stolen", "9")]},
        bad={
            "items": (
                [("n", "a", "v", "1"), (" ", "k", "v", "1")],
                [("n", "a", "v", "1"), ("n", "k\0", "v", "1")],
                [("n", "a", "v", "1"), ("n", "k", "\ud800", "1")],
                [("n", "a", "v", "1"), ("n", "k", "v", "\0")],
                [("n", "a", "v", "1"), ("n", "k", None, "1")],
                [("n", "a", "v", "1"), ("n", 5, "v", "1")],
                [("n", "a", "v", "1"), ("n", "k", "v")],
                [("n", "a", "v", "1"), ("n", "k", "v", "1", "2")],
            ),
            "expected_updated_at_map": ({("n", "another"): ""},),
        },
        blank=("value", "updated_at"),
    ),
    Subject(
        "custom_presets",
        Preset,
        key=("name",),
        keeps=("created_at",),
        save=_save_preset,
        get=_get_preset,
        lists=(
            Listed(
                "list_all",
                order=("name",),
                count="count",
                answers=lambda one: PresetListRow(**one.model_dump()),
            ),
        ),
        bad={"config_json": ("", "a\0", "\ud800", 7, None)},
        blank=("description", "created_at", "updated_at"),
    ),
)
