"""The repositories, written once for every engine."""

from typing import Protocol as _Protocol
from typing import TypeVar as _TypeVar

from holdfast._namespace import publish as _publish
from holdfast.repositories.access import *
from holdfast.repositories.access import AccessRepositories
from holdfast.repositories.agents import *
from holdfast.repositories.agents import AgentRepositories
from holdfast.repositories.approvals import *
from holdfast.repositories.approvals import ApprovalRepositories
from holdfast.repositories.artifacts import *
from holdfast.repositories.artifacts import ArtifactRepositories
from holdfast.repositories.audit import *
from holdfast.repositories.audit import AuditRepositories
from holdfast.repositories.costs import *
from holdfast.repositories.costs import CostRepositories
from holdfast.repositories.decisions import *
from holdfast.repositories.decisions import DecisionRepositories
from holdfast.repositories.idempotency import *
from holdfast.repositories.idempotency import IdempotencyRepositories
from holdfast.repositories.knowledge import *
from holdfast.repositories.knowledge import KnowledgeRepositories
from holdfast.repositories.lockouts import *
from holdfast.repositories.lockouts import LockoutRepositories
from holdfast.repositories.messages import *
from holdfast.repositories.messages import MessageRepositories
from holdfast.repositories.presets import *
from holdfast.repositories.presets import PresetRepositories
from holdfast.repositories.runs import *
from holdfast.repositories.runs import RunRepositories
from holdfast.repositories.security import *
from holdfast.repositories.security import SecurityRepositories
from holdfast.repositories.settings import *
from holdfast.repositories.settings import SettingsRepositories
from holdfast.repositories.tasks import *
from holdfast.repositories.tasks import TaskRepositories
from holdfast.repositories.users import *
from holdfast.repositories.users import UserRepositories
from holdfast.repositories.versions import *
from holdfast.repositories.versions import VersionRepositories
from holdfast.repositories.workflows import *
from holdfast.repositories.workflows import WorkflowRepositories
from holdfast.storage.repository import Repository as _Repository

_R = _TypeVar("_R", bound=_Repository)


class Repositories(
    TaskRepositories,
    WorkflowRepositories,
    ArtifactRepositories,
    RunRepositories,
    AgentRepositories,
    MessageRepositories,
    CostRepositories,
    AuditRepositories,
    DecisionRepositories,
    ApprovalRepositories,
    SecurityRepositories,
    IdempotencyRepositories,
    UserRepositories,
    AccessRepositories,
    LockoutRepositories,
    SettingsRepositories,
    PresetRepositories,
    VersionRepositories,
    KnowledgeRepositories,
    _Protocol,
):
    """Every repository: what a backend and a transaction have in common."""

    def repository(self, kind: type[_R]) -> _R:
        """Return the repository of a class: one object for as long as the backend is connected."""


_publish(globals())
