"""Tools that an agent may use, and how far they reach."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

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
    """Extent of access to tools, from the narrowest to the widest, or ``custom``."""

    SANDBOXED = "sandboxed"
    RESTRICTED = "restricted"
    STANDARD = "standard"
    ELEVATED = "elevated"
    CUSTOM = "custom"


class FileSystemScope(StrEnum):
    """Part of the file system that tools reach."""

    WORKSPACE_ONLY = "workspace_only"
    PROJECT_DIRECTORY = "project_directory"
    FULL = "full"


class NetworkMode(StrEnum):
    """Hosts that tools reach."""

    NONE = "none"
    ALLOWLIST_ONLY = "allowlist_only"
    OPEN = "open"


class GitAccess(StrEnum):
    """Operations of version control that are allowed."""

    LOCAL_ONLY = "local_only"
    READ_AND_BRANCH = "read_and_branch"
    FULL = "full"


class CodeExecutionIsolation(StrEnum):
    """Isolation of code that agents run."""

    CONTAINERIZED = "containerized"
    PROCESS = "process"


class TerminalAccess(StrEnum):
    """Commands that are allowed in a terminal."""

    NONE = "none"
    RESTRICTED_COMMANDS = "restricted_commands"
    FULL = "full"


class ToolSubConstraints(Entity):
    """Limits within the tools that are allowed."""

    file_system: FileSystemScope = Field(
        default=FileSystemScope.PROJECT_DIRECTORY,
        description="Part of the file system that is reached",
    )
    network: NetworkMode = Field(default=NetworkMode.OPEN, description="Hosts that are reached")
    git: GitAccess = Field(
        default=GitAccess.FULL, description="Operations of version control that are allowed"
    )
    code_execution: CodeExecutionIsolation = Field(
        default=CodeExecutionIsolation.CONTAINERIZED, description="Isolation of code that is run"
    )
    terminal: TerminalAccess = Field(
        default=TerminalAccess.RESTRICTED_COMMANDS,
        description="Commands that are allowed in a terminal",
    )
    requires_approval: tuple[NotBlankStr, ...] = Field(
        default=(), description="Types of action that wait for a person's approval"
    )
    network_allowlist: tuple[NotBlankStr, ...] = Field(
        default=(), description="Hosts that are reached in the mode ``allowlist_only``"
    )


class ToolPermissions(Entity):
    """Tools that an agent may use.

    No tool is both ``allowed`` and ``denied``, whatever its case and the space around it.
    """

    access_level: ToolAccessLevel = Field(
        default=ToolAccessLevel.STANDARD,
        description="Extent of access in general, beside the two lists",
    )
    allowed: tuple[NotBlankStr, ...] = Field(
        default=(), description="Names of the tools that are allowed"
    )
    denied: tuple[NotBlankStr, ...] = Field(
        default=(), description="Names of the tools that are denied"
    )
    sub_constraints: ToolSubConstraints | None = Field(
        default=None, description="Limits within the tools; None for the application's own"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if not {*map(folded, self.allowed)}.isdisjoint(map(folded, self.denied)):
            raise ValueError("a tool must not be both in allowed and in denied")
        return self
