"""What is configured and versioned: agents, budgets, companies, who may write facts."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from itertools import pairwise
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from holdfast import (
    AgentIdentity,
    AutonomyConfig,
    BudgetConfig,
    Company,
    CompanyConfig,
    Department,
    EscalationChainConfig,
    EvaluationConfig,
    OrgFactAuthor,
    OrgFactCategory,
    OrgMemoryConfig,
    Role,
    SeniorityLevel,
    TieredTimeoutConfig,
    VersionSnapshot,
    WaitForeverConfig,
    WorkflowDefinition,
    WriteAccessConfig,
    compute_content_hash,
)
from holdfast.testing import samples

from .samples import HASH, NOW, make

VERSIONED = [AgentIdentity, BudgetConfig, Company, EvaluationConfig, Role, WorkflowDefinition]

#: As the contract prints them.
PRESETS = {
    "full": ("all", "", False),
    "semi": ("code, test, docs, vcs, comms:internal, db:query",
             "deploy, org, budget, comms:external", True),
    "supervised": ("code:read, vcs:read, test:run, db:query",
                   ("code:write, code:create, code:delete, code:refactor, test:write, docs:write, "
                   "vcs:commit, vcs:push, vcs:branch, deploy, comms, budget, org, db:mutate, "
                   "db:admin, arch:decide"), True),
    "locked": ("", "all", True),
}  # fmt: skip


def test_presets_of_autonomy() -> None:
    presets = AutonomyConfig().presets
    assert list(presets) == list(PRESETS)
    for name, (auto, human, watched) in PRESETS.items():
        preset = presets[name]
        assert preset.level == name
        assert ", ".join(preset.auto_approve) == auto
        assert ", ".join(preset.human_approval) == human
        assert preset.security_agent is watched
    presets.clear()
    assert len(AutonomyConfig().presets) == 4


@pytest.mark.parametrize(
    ("given", "dumped"),
    [
        ({"policy": "wait"}, {"policy": "wait"}),
        ({"policy": "deny"}, {"policy": "deny", "timeout_minutes": 240.0}),
        (
            {"policy": "tiered", "tiers": {"low": {"timeout_minutes": 1}}},
            {
                "policy": "tiered",
                "tiers": {"low": {"timeout_minutes": 1.0, "on_timeout": "deny", "actions": []}},
            },
        ),
        (
            {"policy": "escalation", "chain": [{"role": "Lead", "timeout_minutes": 2}]},
            {
                "policy": "escalation",
                "chain": [{"role": "Lead", "timeout_minutes": 2.0}],
                "on_chain_exhausted": "deny",
            },
        ),
    ],
)
def test_policies_of_timeouts(given: dict[str, Any], dumped: dict[str, Any]) -> None:
    config = CompanyConfig.model_validate({"approval_timeout": given})
    assert config.model_dump(mode="json")["approval_timeout"] == dumped
    assert CompanyConfig.model_validate_json(config.model_dump_json()) == config
    assert type(CompanyConfig().approval_timeout) is WaitForeverConfig


def test_policies_of_timeouts_there_are_not() -> None:
    for given in ({"policy": "hope"}, {}, {"policy": "escalation"}):
        with pytest.raises(ValidationError):
            CompanyConfig.model_validate({"approval_timeout": given})
    for chain in ([], [{"role": "Lead", "timeout_minutes": 0}]):
        with pytest.raises(ValidationError):
            EscalationChainConfig.model_validate({"chain": chain})
    with pytest.raises(ValidationError):
        TieredTimeoutConfig.model_validate({"tiers": {"mild": {"timeout_minutes": 1}}})


def test_keys_of_a_reporting_line_are_dumped_and_ignored() -> None:
    line = make("ReportingLine", subordinate=" Ada", supervisor="Bob", supervisor_id="B7")
    assert line.subordinate_key == ("name", "ada")
    assert line.supervisor_key == ("id", "b7")
    dumped = line.model_dump(mode="json")
    assert (dumped["subordinate_key"], dumped["supervisor_key"]) == (["name", "ada"], ["id", "b7"])
    assert type(line).model_validate({**dumped, "supervisor_key": ["id", "other"]}) == line


def test_a_ceremony_policy_is_a_frozen_copy() -> None:
    given: dict[str, Any] = {"retro": {"days": [1, 2]}}
    department = Department(name="Design", ceremony_policy=given)
    given["retro"]["days"].append(3)
    assert department.ceremony_policy == {"retro": {"days": (1, 2)}}
    with pytest.raises(TypeError):
        department.ceremony_policy["retro"] = 1  # type: ignore[index]
    company = Company(name="Acme", departments=(department,))
    assert Company.model_validate_json(company.model_dump_json()) == company
    assert copy.deepcopy(company) == pickle.loads(pickle.dumps(company)) == company  # noqa: S301


def test_models_in_a_downgrade_map_lose_the_space_around_them() -> None:
    made = make("AutoDowngradeConfig", downgrade_map=[(" large", "small\n")])
    assert made.downgrade_map == (("large", "small"),)
    with pytest.raises(ValidationError):
        make("AutoDowngradeConfig", downgrade_map=[("large", " ")])


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "EU", "EUR\n", "ÄÖÜ"])
def test_a_currency_is_three_capitals(currency: str) -> None:
    assert make("BudgetConfig", currency="USD").currency == "USD"
    with pytest.raises(ValidationError):
        make("BudgetConfig", currency=currency)


def test_ranks_grow() -> None:
    assert all(low.rank + 1 == high.rank for low, high in pairwise(SeniorityLevel))
    assert SeniorityLevel.JUNIOR.rank == 0


@pytest.mark.parametrize("category", OrgFactCategory)
@pytest.mark.parametrize("seniority", [None, *SeniorityLevel])
def test_who_may_write_facts(category: OrgFactCategory, seniority: SeniorityLevel | None) -> None:
    """By default: humans, and from senior on, but for what only humans or nobody may write."""
    human = seniority is None
    author = OrgFactAuthor(is_human=human, agent_id=None if human else "ada", seniority=seniority)
    senior = seniority not in (None, SeniorityLevel.JUNIOR, SeniorityLevel.MID)
    allowed = {"core_policy": human, "entity_definition": False}.get(category, human or senior)
    assert WriteAccessConfig().allows(category, author) is allowed


def test_rules_for_writing_are_a_read_only_copy_and_fail_closed() -> None:
    rules: dict[str, Any] = {"adr": {"human_allowed": False, "allowed_seniority": "lead"}}
    access = WriteAccessConfig.model_validate({"rules": rules})
    rules.clear()
    with pytest.raises(TypeError):
        access.rules[OrgFactCategory.ADR] = access.rules[OrgFactCategory.ADR]
    human = OrgFactAuthor(is_human=True)
    lead = OrgFactAuthor(agent_id="ada", seniority=SeniorityLevel.LEAD)
    assert not access.allows(OrgFactCategory.ADR, human)
    assert access.allows(OrgFactCategory.ADR, lead)
    assert not access.allows(OrgFactCategory.CORE_POLICY, human)
    config = OrgMemoryConfig(write_access=access)
    assert copy.deepcopy(config) == pickle.loads(pickle.dumps(config)) == config  # noqa: S301
    assert OrgMemoryConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("kind", VERSIONED)
def test_a_content_hash_is_the_formula(kind: type[BaseModel]) -> None:
    made = samples.full(kind)
    text = json.dumps(made.model_dump(mode="json"), sort_keys=True, default=str)
    assert compute_content_hash(made) == hashlib.sha256(text.encode("utf-8")).hexdigest()
    again = kind.model_validate_json(made.model_dump_json())
    assert compute_content_hash(again) == compute_content_hash(made)
    snapshot = VersionSnapshot[kind](  # type: ignore[valid-type]
        entity_id="e", version=1, content_hash=HASH, snapshot=made, saved_by="ada", saved_at=NOW
    )
    assert type(snapshot).model_validate_json(snapshot.model_dump_json()) == snapshot


def test_a_content_hash_stays_and_tells_apart() -> None:
    role = Role(name="Engineer", department="engineering")
    assert compute_content_hash(role) == (
        "0430df27240c237f5efd77bc5d30820efeb21bdac8e85d9cfb722e5d0ba3eae1"
    )
    assert compute_content_hash(role.model_copy(update={"description": "x"})) != (
        compute_content_hash(role)
    )
