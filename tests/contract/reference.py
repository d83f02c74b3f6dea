"""The contract as data: what an application written against it may rely on.

One signature a line, written as in a protocol, without ``self``; ``async`` and ``property`` stand
in front. Texts that must not be blank are ``str``, times that must be aware are ``datetime``. A
comment says where Holdfast decided otherwise. What has no annotation is not compared.

Everywhere Holdfast may add parameters with defaults, and every list has ``limit`` and ``after``.
The module is long because it is one table, without code.
"""

from __future__ import annotations

__all__ = [
    "BACKEND",
    "CONFIGS",
    "CONSTRUCTORS",
    "ERRORS",
    "FUNCTIONS",
    "LATER",
    "LATER_ON_BACKEND",
    "ORG_MEMORY_BACKEND",
    "REPOSITORIES",
    "UNPAGED",
    "VERSIONING_SERVICE",
]

BACKEND = """
    async connect() -> None
    async disconnect() -> None
    async health_check() -> bool
    async migrate() -> None
    get_db() -> Any
    property is_connected() -> bool
    property backend_name() -> str
    async get_setting(key: str) -> str | None
    async set_setting(key: str, value: str) -> None
"""

CONSTRUCTORS = """
    SQLitePersistenceBackend(config: SQLiteConfig)
    PostgresPersistenceBackend(config: PostgresConfig)
"""

FUNCTIONS = """
    create_backend(config: PersistenceConfig = None) -> PersistenceBackend  # None: environment
    compute_content_hash(model: BaseModel) -> str
"""

_VERSIONS = """
    async save_version(version: VersionSnapshot[T]) -> bool
    async get_version(entity_id: str, version: int) -> VersionSnapshot[T] | None
    async get_latest_version(entity_id: str) -> VersionSnapshot[T] | None
    async get_by_content_hash(entity_id: str, content_hash: str) -> VersionSnapshot[T] | None
    async list_versions(entity_id: str, *, limit: int = 50, offset: int = 0)
        -> tuple[VersionSnapshot[T], ...]
    async count_versions(entity_id: str) -> int
    async delete_versions_for_entity(entity_id: str) -> int
"""

#: By property: its type and its methods.
REPOSITORIES = {
    "tasks": (
        "TaskRepository",
        """
    async save(task: Task) -> None
    async get(task_id: str) -> Task | None
    async list_tasks(*, status: TaskStatus | None = None, assigned_to: str | None = None,
        project: str | None = None, limit: int | None = None, offset: int = 0) -> tuple[Task, ...]
    async count_tasks(*, status: TaskStatus | None = None, assigned_to: str | None = None,
        project: str | None = None) -> int
    async delete(task_id: str) -> bool
    """,
    ),
    "cost_records": (
        "CostRecordRepository",
        """
    async save(record: CostRecord) -> None
    async query(*, agent_id: str | None = None, task_id: str | None = None)
        -> tuple[CostRecord, ...]
    async aggregate(*, agent_id: str | None = None, task_id: str | None = None) -> float
    """,
    ),
    "messages": (
        "MessageRepository",
        """
    async save(message: Message) -> None
    async get_history(channel: str, *, limit: int | None = None) -> tuple[Message, ...]
    """,
    ),
    "lifecycle_events": (
        "LifecycleEventRepository",
        """
    async save(event: AgentLifecycleEvent) -> None
    async list_events(*, agent_id: str | None = None, event_type: LifecycleEventType | None = None,
        since: datetime | None = None, limit: int | None = None) -> tuple[AgentLifecycleEvent, ...]
    """,
    ),
    "task_metrics": (
        "TaskMetricRepository",
        """
    async save(record: TaskMetricRecord) -> None
    async query(*, agent_id: str | None = None, since: datetime | None = None,
        until: datetime | None = None) -> tuple[TaskMetricRecord, ...]
    """,
    ),
    "collaboration_metrics": (
        "CollaborationMetricRepository",
        """
    async save(record: CollaborationMetricRecord) -> None
    async query(*, agent_id: str | None = None, since: datetime | None = None)
        -> tuple[CollaborationMetricRecord, ...]
    """,
    ),
    "parked_contexts": (
        "ParkedContextRepository",
        """
    async save(context: ParkedContext) -> None
    async get(parked_id: str) -> ParkedContext | None
    async get_by_approval(approval_id: str) -> ParkedContext | None
    async get_by_agent(agent_id: str) -> tuple[ParkedContext, ...]
    async delete(parked_id: str) -> bool
    """,
    ),
    "audit_entries": (
        "AuditRepository",
        """
    async save(entry: AuditEntry) -> None
    async query(*, agent_id: str | None = None, action_type: str | None = None,
        verdict: AuditVerdictStr | None = None, risk_level: ApprovalRiskLevel | None = None,
        since: datetime | None = None, until: datetime | None = None, limit: int = 100)
        -> tuple[AuditEntry, ...]
    async purge_before(cutoff: datetime) -> int
    """,
    ),
    "decision_records": (
        "DecisionRepository",
        """
    async append_with_next_version(*, record_id: str, task_id: str, approval_id: str | None,
        executing_agent_id: str, reviewer_agent_id: str, decision: DecisionOutcome,
        reason: str | None, criteria_snapshot: tuple[str, ...], recorded_at: datetime,
        metadata: dict[str, object] | None = None) -> DecisionRecord
    async get(record_id: str) -> DecisionRecord | None
    async list_by_task(task_id: str) -> tuple[DecisionRecord, ...]
    async list_by_agent(agent_id: str, *, role: DecisionRole) -> tuple[DecisionRecord, ...]
    """,
    ),
    "users": (
        "UserRepository",
        """
    async save(user: User) -> None
    async get(user_id: str) -> User | None
    async get_by_username(username: str) -> User | None
    async list_users() -> tuple[User, ...]
    async list_users_paginated(*, after_id: str | None, limit: int) -> tuple[User, ...]
    async count() -> int
    async count_by_role(role: HumanRole) -> int
    async delete(user_id: str) -> bool
    """,
    ),
    "api_keys": (
        "ApiKeyRepository",
        """
    async save(key: ApiKey) -> None
    async get(key_id: str) -> ApiKey | None
    async get_by_hash(key_hash: str) -> ApiKey | None
    async list_by_user(user_id: str) -> tuple[ApiKey, ...]
    async delete(key_id: str) -> bool
    """,
    ),
    "checkpoints": (
        "CheckpointRepository",
        """
    async save(checkpoint: Checkpoint) -> None
    async get_latest(*, execution_id: str | None = None, task_id: str | None = None)
        -> Checkpoint | None
    async delete_by_execution(execution_id: str) -> int
    """,
    ),
    "heartbeats": (
        "HeartbeatRepository",
        """
    async save(heartbeat: Heartbeat) -> None
    async get(execution_id: str) -> Heartbeat | None
    async get_stale(threshold: datetime) -> tuple[Heartbeat, ...]
    async delete(execution_id: str) -> bool
    """,
    ),
    "agent_states": (
        "AgentStateRepository",
        """
    async save(state: AgentRuntimeState) -> None
    async get(agent_id: str) -> AgentRuntimeState | None
    async get_active() -> tuple[AgentRuntimeState, ...]
    async delete(agent_id: str) -> bool
    """,
    ),
    "settings": (
        "SettingsRepository",
        """
    async get(namespace: str, key: str) -> tuple[str, str] | None
    async get_namespace(namespace: str) -> tuple[tuple[str, str, str], ...]
    async get_all() -> tuple[tuple[str, str, str, str], ...]
    async set(namespace: str, key: str, value: str, updated_at: str, *,
        expected_updated_at: str | None = None) -> bool
    async set_many(items: Sequence[tuple[str, str, str, str]], *,
        expected_updated_at_map: Mapping[tuple[str, str], str] | None = None) -> bool
    async delete(namespace: str, key: str) -> bool
    async delete_namespace(namespace: str) -> int
    async delete_namespace_returning_keys(namespace: str) -> tuple[str, ...]
    """,
    ),
    "artifacts": (
        "ArtifactRepository",
        """
    async save(artifact: Artifact) -> bool
    async get(artifact_id: str) -> Artifact | None
    async list_artifacts(*, task_id: str | None = None, created_by: str | None = None,
        artifact_type: ArtifactType | None = None) -> tuple[Artifact, ...]
    async delete(artifact_id: str) -> bool
    """,
    ),
    "projects": (
        "ProjectRepository",
        """
    async save(project: Project) -> None
    async create(project: Project) -> None
    async update(project: Project) -> None
    async get(project_id: str) -> Project | None
    async list_projects(*, status: ProjectStatus | None = None, lead: str | None = None)
        -> tuple[Project, ...]
    async delete(project_id: str) -> bool
    """,
    ),
    "custom_presets": (
        "PersonalityPresetRepository",
        """
    async save(name: str, config_json: str, description: str, created_at: str, updated_at: str)
        -> None
    async get(name: str) -> PresetRow | None
    async list_all() -> tuple[PresetListRow, ...]
    async delete(name: str) -> bool
    async count() -> int
    """,
    ),
    "workflow_definitions": (
        "WorkflowDefinitionRepository",
        """
    async save(definition: WorkflowDefinition) -> None
    async create_if_absent(definition: WorkflowDefinition) -> bool
    async update_if_exists(definition: WorkflowDefinition) -> bool
    async get(definition_id: str) -> WorkflowDefinition | None
    async list_definitions(*, workflow_type: WorkflowType | None = None)
        -> tuple[WorkflowDefinition, ...]
    async delete(definition_id: str) -> bool
    """,
    ),
    "workflow_executions": (
        "WorkflowExecutionRepository",
        """
    async save(execution: WorkflowExecution) -> None
    async get(execution_id: str) -> WorkflowExecution | None
    async list_by_definition(definition_id: str) -> tuple[WorkflowExecution, ...]
    async list_by_status(status: WorkflowExecutionStatus) -> tuple[WorkflowExecution, ...]
    async find_by_task_id(task_id: str) -> WorkflowExecution | None
    async delete(execution_id: str) -> bool
    """,
    ),
    "workflow_versions": ("VersionRepository[WorkflowDefinition]", _VERSIONS),
    "identity_versions": ("VersionRepository[AgentIdentity]", _VERSIONS),
    "evaluation_config_versions": ("VersionRepository[EvaluationConfig]", _VERSIONS),
    "budget_config_versions": ("VersionRepository[BudgetConfig]", _VERSIONS),
    "company_versions": ("VersionRepository[Company]", _VERSIONS),
    "role_versions": ("VersionRepository[Role]", _VERSIONS),
    "risk_overrides": (
        "RiskOverrideRepository",
        """
    async save(override: RiskTierOverride) -> None
    async get(override_id: str) -> RiskTierOverride | None
    async list_active() -> tuple[RiskTierOverride, ...]
    async revoke(override_id: str, *, revoked_by: str, revoked_at: datetime) -> bool
    """,
    ),
    "ssrf_violations": (
        "SsrfViolationRepository",
        """
    async save(violation: SsrfViolation) -> None
    async get(violation_id: str) -> SsrfViolation | None
    async list_violations(*, status: SsrfViolationStatus | None = None, limit: int = 100)
        -> tuple[SsrfViolation, ...]
    async update_status(violation_id: str, *, status: SsrfViolationStatus, resolved_by: str,
        resolved_at: datetime) -> bool
    """,
    ),
    "circuit_breaker_state": (
        "CircuitBreakerStateRepository",
        """
    async save(record: CircuitBreakerStateRecord) -> None
    async load_all() -> tuple[CircuitBreakerStateRecord, ...]
    async delete(pair_key_a: str, pair_key_b: str) -> bool
    """,
    ),
    "project_cost_aggregates": (
        "ProjectCostAggregateRepository",
        """
    async get(project_id: str) -> ProjectCostAggregate | None
    async increment(project_id: str, cost: float, input_tokens: int, output_tokens: int)
        -> ProjectCostAggregate
    """,
    ),
    "org_facts": (
        "OrgFactRepository",
        """
    async save(fact: OrgFact) -> None
    async get(fact_id: str) -> OrgFact | None
    async query(*, categories: frozenset[OrgFactCategory] | None = None, text: str | None = None,
        limit: int = 5) -> tuple[OrgFact, ...]
    async list_by_category(category: OrgFactCategory) -> tuple[OrgFact, ...]
    async delete(fact_id: str, *, author: OrgFactAuthor) -> bool
    async snapshot_at(timestamp: datetime) -> tuple[OperationLogSnapshot, ...]
    async get_operation_log(fact_id: str) -> tuple[OperationLogEntry, ...]
    """,
    ),
}

#: Methods that answer several and yet are no lists of which pages could be asked for.
UNPAGED = {
    "settings.delete_namespace_returning_keys": "the answer says what was deleted",
    "users.list_users_paginated": "after_id and limit are its pages, and required",
    "org_facts.query": "a search for the best few: its limit is never above 100",
}

VERSIONING_SERVICE = """
    async snapshot_if_changed(entity_id: str, snapshot: T, saved_by: str)
        -> VersionSnapshot[T] | None
    async get_latest(entity_id: str) -> VersionSnapshot[T] | None
"""

ORG_MEMORY_BACKEND = """
    async connect() -> None
    async disconnect() -> None
    async health_check() -> bool
    property is_connected() -> bool
    property backend_name() -> str
    async query(query: OrgMemoryQuery) -> tuple[OrgFact, ...]
    async write(request: OrgFactWriteRequest, *, author: OrgFactAuthor) -> str
    async list_policies() -> tuple[OrgFact, ...]
"""

#: Repositories that came to the contract later: the names count, Holdfast decides the rest.
LATER = {
    "approvals": (
        "ApprovalRepository",
        """
    async save()
    async save_many()
    async get()
    async list_items(*, status, risk_level, action_type, limit, offset)
    async expire_if_pending()
    async delete() -> bool
    """,
    ),
    "sessions": (
        "SessionRepository",
        """
    async create(session)
    async get(session_id)
    async list_by_user(user_id)
    async list_all()
    async revoke(session_id)
    async revoke_all_for_user(user_id) -> int
    async enforce_session_limit(user_id, max_sessions) -> int
    is_revoked(session_id) -> bool
    async load_revoked()
    async cleanup_expired() -> int
    """,
    ),
    "refresh_tokens": (
        "RefreshTokenRepository",
        """
    async create(token_hash, session_id, user_id, expires_at)
    async consume(token_hash, *, is_session_revoked) -> RefreshRecord | None
    async revoke_by_session(session_id) -> int
    async revoke_by_user(user_id) -> int
    async cleanup_expired() -> int
    """,
    ),
    "idempotency_keys": (
        "IdempotencyRepository",
        """
    async claim(scope, key, ttl_seconds, now) -> IdempotencyClaim
    async complete(scope, key, claim_token, response) -> bool
    async fail(scope, key, claim_token) -> bool
    async get(scope, key)
    async cleanup_expired() -> int
    """,
    ),
}

#: By method of the backend that builds it: as in `LATER`.
LATER_ON_BACKEND = {
    "build_lockouts": (
        "LockoutRepository",
        """
    async load_locked()
    async record_failure(username, ip) -> bool
    async record_success(username)
    is_locked(username) -> bool
    property lockout_duration_seconds()
    async cleanup_expired() -> int
    """,
    ),
}

#: By name: the parents, and ``is_retryable``.
ERRORS = {
    "PersistenceError": (("Exception",), False),
    "PersistenceConnectionError": (("PersistenceError",), True),
    "MigrationError": (("PersistenceError",), False),
    "RecordNotFoundError": (("PersistenceError",), False),
    "DuplicateRecordError": (("PersistenceError",), False),
    "QueryError": (("PersistenceError",), True),
    "VersionConflictError": (("QueryError",), False),
    "ArtifactTooLargeError": (("PersistenceError",), False),
    "ArtifactStorageFullError": (("PersistenceError",), False),
    "ConstraintViolationError": (("QueryError",), False),
    "MalformedRowError": (("QueryError",), False),
    "InvalidArgumentError": (("QueryError", "ValueError"), False),
    "PoolTimeoutError": (("PersistenceConnectionError",), True),
}

CONFIGS = {
    "SQLiteConfig": """
    path: str = "holdfast.db"  # named after the product
    wal_mode: bool = True
    journal_size_limit: int = 67_108_864
    """,
    "PostgresConfig": """
    host: str = "localhost"
    port: int = 5432
    database: str
    username: str
    password: SecretStr
    ssl_mode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None
        = None  # unset: verify-full beyond this machine, prefer on it
    pool_min_size: int = 1
    pool_max_size: int = 10
    pool_timeout_seconds: float = 30.0
    application_name: str = "holdfast"  # named after the product
    statement_timeout_ms: int = 30_000
    connect_timeout_seconds: float = 10.0
    """,
    "PersistenceConfig": """
    backend: str = "sqlite"
    sqlite: SQLiteConfig = SQLiteConfig()
    postgres: PostgresConfig | None = None
    """,
}
