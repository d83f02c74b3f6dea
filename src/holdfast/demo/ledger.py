"""What was acknowledged, and whether the database still has it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from pydantic import BaseModel

from holdfast import PersistenceBackend, TaskStatus
from holdfast.demo.organisation import Plan

__all__ = ["Ledger", "digest"]


def digest(entity: BaseModel) -> str:
    """Of everything the entity says."""
    return sha256(entity.model_dump_json().encode()).hexdigest()[:20]


@dataclass(slots=True)
class Ledger:
    """Every write that a worker was told is stored, as it came through the worker's pipe.

    ``whole`` holds the digests of what is written once, by repository; ``turns`` the highest turn
    checkpointed for each execution; ``keys`` what is overwritten later, where only the key stays.
    """

    whole: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    turns: dict[str, int] = field(default_factory=dict)
    keys: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    writes: int = 0

    @property
    def completed(self) -> int:
        return len(self.keys["completed"])

    def add(self, repository: str, key: str, proof: str) -> None:
        if repository != "completed":  # a note about a task's last write, which was counted
            self.writes += 1
        if repository in ("messages", "cost_records", "audit_entries"):
            self.whole[repository].append(proof)
        elif repository == "checkpoints":
            self.turns[key] = max(int(proof), self.turns.get(key, -1))
        else:
            self.keys[repository].add(key)

    async def missing(
        self, backend: PersistenceBackend, plan: Plan, since: datetime
    ) -> dict[str, int]:
        """How many acknowledged records are not there, or not as they were, by repository."""
        stored = {
            "messages": await backend.messages.get_history(plan.channel),
            "cost_records": await backend.cost_records.query(),
            "audit_entries": await backend.audit_entries.query(since=since, limit=None),
        }
        missing = {
            name: sum((Counter(self.whole[name]) - Counter(map(digest, entities))).values())
            for name, entities in stored.items()
        }
        missing["checkpoints"] = 0
        for execution, turn in self.turns.items():
            found = await backend.checkpoints.get_latest(execution_id=execution)
            missing["checkpoints"] += found is None or found.turn_number < turn
        tasks = {task.id: task for task in await backend.tasks.list_tasks(project=plan.project)}
        missing["tasks"] = sum(
            tasks[key].status is not TaskStatus.COMPLETED for key in self.keys["completed"]
        ) + len(self.keys["tasks"] - tasks.keys())
        lookups = {
            "artifacts": backend.artifacts.get,
            "heartbeats": backend.heartbeats.get,
            "agent_states": backend.agent_states.get,
            "parked_contexts": backend.parked_contexts.get,
        }
        for name, get in lookups.items():
            missing[name] = 0
            for key in self.keys[name]:
                missing[name] += await get(key) is None
        return missing
