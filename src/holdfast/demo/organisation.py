"""Who works and on what: the same organisation for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from holdfast import (
    ApiKey,
    PersistenceBackend,
    Priority,
    Project,
    ProjectStatus,
    Task,
    TaskType,
    User,
)

__all__ = ["Plan", "found", "make_plan"]

_AGENTS = (
    "Ada", "Grace", "Linus", "Barbara", "Edsger", "Radia", "Donald", "Margaret",
    "Alan", "Katherine", "Tony", "Frances", "Dennis", "Hedy", "Niklaus", "Shafi",
)  # fmt: skip
_VERBS = ("Draft", "Review", "Price", "Test", "Translate", "Summarise", "Plan", "Publish")
_THINGS = (
    "the launch notes", "a price list", "the onboarding mail", "the crash report",
    "the weekly figures", "a supplier contract", "the search index", "the road map",
)  # fmt: skip
_MODELS = (("example-large", 12.0), ("example-small", 1.5))


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: its project, its agents and its tasks, decided by the seed."""

    run: int
    seed: int
    agents: tuple[str, ...]
    tasks: int

    @property
    def project(self) -> str:
        return f"project-{self.run}"

    @property
    def channel(self) -> str:
        return f"{self.project}-floor"

    def random_for(self, *what: object) -> random.Random:
        """Chance that depends on the seed and on what it is for, not on who runs first."""
        text = ":".join(map(str, (self.seed, self.run, *what)))
        return random.Random(int.from_bytes(sha256(text.encode()).digest()[:8]))  # noqa: S311

    def turns(self, task_id: str) -> int:
        return self.random_for("turns", task_id).randint(2, 4)

    def call(self, task_id: str, turn: int) -> tuple[str, int, int, float]:
        """Model, tokens in, tokens out and dollars of a turn's call."""
        chance = self.random_for("call", task_id, turn)
        model, price = chance.choice(_MODELS)
        tokens_in, tokens_out = chance.randint(300, 3000), chance.randint(50, 600)
        return model, tokens_in, tokens_out, (tokens_in + 4 * tokens_out) * price / 1_000_000

    def task(self, number: int) -> Task:
        chance = self.random_for("task", number)
        needs = (f"{self.project}-task-{number - 7}",) if number % 9 == 8 else ()
        return Task(
            id=f"{self.project}-task-{number}",
            title=f"{chance.choice(_VERBS)} {chance.choice(_THINGS)}",
            description="Made by holdfast demo.",
            type=chance.choice(list(TaskType)),
            priority=chance.choice(list(Priority)),
            project=self.project,
            created_by="Founder",
            dependencies=needs,
            budget_limit=1.0,
        )


def make_plan(run: int, seed: int, agents: int, tasks: int) -> Plan:
    names = [
        _AGENTS[n % len(_AGENTS)] + ("" if n < len(_AGENTS) else f"-{n}") for n in range(agents)
    ]
    return Plan(run, seed, tuple(names), tasks)


async def found(backend: PersistenceBackend, plan: Plan) -> Sequence[Task]:
    """Write down the organisation and its open tasks."""
    now = datetime.now(UTC)
    async with backend.transaction() as tx:
        if await tx.users.get("founder") is None:
            await tx.users.save(
                User(
                    id="founder",
                    username="founder",
                    password_hash="",
                    role="ceo",
                    org_roles=("owner",),
                    created_at=now,
                    updated_at=now,
                )
            )
            await tx.api_keys.save(
                ApiKey(
                    id="founder-key",
                    key_hash=sha256(str(plan.seed).encode()).hexdigest(),
                    name="demo",
                    role="ceo",
                    user_id="founder",
                    created_at=now,
                )
            )
        tasks = [plan.task(number) for number in range(plan.tasks)]
        await tx.projects.save(
            Project(
                id=plan.project,
                name=f"Run {plan.run}",
                team=plan.agents,
                lead=plan.agents[0],
                task_ids=tuple(task.id for task in tasks[:20]),
                budget=100.0,
                status=ProjectStatus.ACTIVE,
            )
        )
    await backend.set_setting("demo.runs", str(plan.run))
    for start in range(0, len(tasks), 1000):
        async with backend.transaction() as tx:
            for task in tasks[start : start + 1000]:
                await tx.tasks.save(task)
    return tasks
