"""How entities are reached, written once for every engine."""

from typing import Protocol as _Protocol

from holdfast._namespace import publish as _publish
from holdfast.repositories.artifacts import *
from holdfast.repositories.artifacts import ArtifactRepositories
from holdfast.repositories.audit import *
from holdfast.repositories.audit import AuditRepositories
from holdfast.repositories.money import *
from holdfast.repositories.money import MoneyRepositories
from holdfast.repositories.people import *
from holdfast.repositories.people import PeopleRepositories
from holdfast.repositories.runs import *
from holdfast.repositories.runs import RunRepositories
from holdfast.repositories.settings import *
from holdfast.repositories.settings import SettingsRepositories
from holdfast.repositories.talk import *
from holdfast.repositories.talk import TalkRepositories
from holdfast.repositories.work import *
from holdfast.repositories.work import WorkRepositories


class Repositories(
    WorkRepositories,
    ArtifactRepositories,
    RunRepositories,
    TalkRepositories,
    MoneyRepositories,
    AuditRepositories,
    PeopleRepositories,
    SettingsRepositories,
    _Protocol,
):
    """Every repository: what a backend and a transaction have in common."""


_publish(globals())
