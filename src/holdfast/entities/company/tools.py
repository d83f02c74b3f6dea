"""Which tools an agent may use, and how far they reach."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import model_validator

from holdfast.entities.base import Entity, NotBlankStr, folded

__all__ = [
    "CodeExecutionIsolation",
    "FileSystemScope",
    "GitAccess",
    "NetworkMode",
    "TerminalAccess",
    "ToolAccessLevel",
    "ToolPermissions",
    "ToolSubConstraints",
]


class ToolAccessLevel(StrEnum):
    SANDBOXED = "sandboxed"
    RESTRICTED = "restricted"
    STANDARD = "standard"
    ELEVATED = "elevated"
    CUSTOM = "custom"


class FileSystemScope(StrEnum):
    WORKSPACE_ONLY = "workspace_only"
    PROJECT_DIRECTORY = "project_directory"
    FULL = "full"


class NetworkMode(StrEnum):
    NONE = "none"
    ALLOWLIST_ONLY = "allowlist_only"
    OPEN = "open"


class GitAccess(StrEnum):
    LOCAL_ONLY = "local_only"
    READ_AND_BRANCH = "read_and_branch"
    FULL = "full"


class CodeExecutionIsolation(StrEnum):
    CONTAINERIZED = "containerized"
    PROCESS = "process"


class TerminalAccess(StrEnum):
    NONE = "none"
    RESTRICTED_COMMANDS = "restricted_commands"
    FULL = "full"


class ToolSubConstraints(Entity):
    """Limits within the tools; ``requires_approval`` names actions that wait for a person."""

    file_system: FileSystemScope = FileSystemScope.PROJECT_DIRECTORY
    network: NetworkMode = NetworkMode.OPEN
    git: GitAccess = GitAccess.FULL
    code_execution: CodeExecutionIsolation = CodeExecutionIsolation.CONTAINERIZED
    terminal: TerminalAccess = TerminalAccess.RESTRICTED_COMMANDS
    requires_approval: tuple[NotBlankStr, ...] = ()
    network_allowlist: tuple[NotBlankStr, ...] = ()


class ToolPermissions(Entity):
    """No tool is both ``allowed`` and ``denied``, whatever its case and the space around it."""

    access_level: ToolAccessLevel = ToolAccessLevel.STANDARD
    allowed: tuple[NotBlankStr, ...] = ()
    denied: tuple[NotBlankStr, ...] = ()
    sub_constraints: ToolSubConstraints | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if not {*map(folded, self.allowed)}.isdisjoint(map(folded, self.denied)):
            raise ValueError("a tool must not be both in allowed and in denied")
        return self
