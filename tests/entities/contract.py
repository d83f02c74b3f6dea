"""The fields of every entity, as the contract prints them.

``names: type {bounds} = default``; what has no default is required. ``X?`` is ``X | None = None``,
``Names`` are a tuple of names, ``new`` is made anew each time. Bounds are inclusive but after
``>``; without any, an ``int`` is from 0 to 2**63 - 1, and a ``float`` is any.
"""

from __future__ import annotations

__all__ = ["FIELDS"]

FIELDS = """\
ExpectedArtifact
    type: ArtifactType; path: NotBlankStr
AcceptanceCriterion
    description: NotBlankStr; met: bool = False
Task
    id, title, description: NotBlankStr; type: TaskType; priority: Priority = "medium";
    project, created_by: NotBlankStr; assigned_to: NotBlankStr?;
    reviewers, dependencies: Names = (); artifacts_expected: tuple[ExpectedArtifact, ...] = ();
    acceptance_criteria: tuple[AcceptanceCriterion, ...] = ();
    estimated_complexity: Complexity = "medium"; budget_limit: float {0..} = 0.0;
    deadline: Deadline?; max_retries: int = 1; status: TaskStatus = "created";
    parent_task_id: NotBlankStr?; delegation_chain: Names = (); task_structure: TaskStructure?;
    coordination_topology: CoordinationTopology = "auto"; source: TaskSource?
Project
    id, name: NotBlankStr; description: str = ""; team: Names = (); lead: NotBlankStr?;
    task_ids: Names = (); deadline: Deadline?; budget: float {0..} = 0.0;
    status: ProjectStatus = "planning"
Artifact
    id, path, task_id, created_by: NotBlankStr; type: ArtifactType; description: str = "";
    project_id: NotBlankStr?; content_type: str = ""; size_bytes: int = 0;
    created_at: AwareDatetime?
CostRecord
    agent_id, task_id, provider, model: NotBlankStr; project_id: NotBlankStr?;
    input_tokens, output_tokens: int; cost_usd: float {0..}; timestamp: AwareDatetime;
    call_category: LLMCallCategory?; accuracy_effort_ratio, latency_ms: float? {0..};
    cache_hit: bool?; retry_count: int?; retry_reason: str?; finish_reason: FinishReason?;
    success: bool?
ProjectCostAggregate
    project_id: NotBlankStr; total_cost: float {0..};
    total_input_tokens, total_output_tokens, record_count: int; last_updated: AwareDatetime
TextPart
    type: Literal["text"] = "text"; text: NotBlankStr
DataPart
    type: Literal["data"] = "data"; data: JsonObject
FilePart
    type: Literal["file"] = "file"; uri: NotBlankStr; mime_type: NotBlankStr?
UriPart
    type: Literal["uri"] = "uri"; uri: NotBlankStr
MessageMetadata
    task_id, project_id: NotBlankStr?; tokens_used: int?; cost_usd: float? {0..};
    extra: tuple[tuple[str, str], ...] = ()
Message
    id: UUID = new; timestamp: AwareDatetime; sender, to: NotBlankStr; type: MessageType;
    priority: MessagePriority = "normal"; channel: NotBlankStr;
    parts: tuple[Part, ...] {length 1..}; metadata: MessageMetadata = MessageMetadata()
Checkpoint
    id: NotBlankStr = new; execution_id, agent_id, task_id: NotBlankStr; turn_number: int;
    context_json: str; created_at: AwareDatetime = new
CheckpointConfig
    persist_every_n_turns: int {>0..} = 1; heartbeat_interval_seconds: float {>0..} = 30.0;
    max_resume_attempts: int = 2
Heartbeat
    execution_id, agent_id, task_id: NotBlankStr; last_heartbeat_at: AwareDatetime
ParkedContext
    id: NotBlankStr = new; execution_id, agent_id, approval_id: NotBlankStr; task_id: NotBlankStr?;
    parked_at: AwareDatetime; context_json: str; metadata: dict[str, str] = {}
AgentRuntimeState
    agent_id: NotBlankStr; execution_id, task_id: NotBlankStr?; status: ExecutionStatus;
    turn_count: int = 0; accumulated_cost_usd: float {0..} = 0.0; last_activity_at: AwareDatetime;
    started_at: AwareDatetime?
AuditEntry
    id: NotBlankStr; timestamp: AwareDatetime; agent_id, task_id, approval_id: NotBlankStr?;
    tool_name: NotBlankStr; tool_category: ToolCategory; action_type: str; arguments_hash: Sha256;
    verdict: AuditVerdictStr; risk_level: ApprovalRiskLevel; reason: NotBlankStr;
    matched_rules: Names = (); evaluation_duration_ms: float {0..};
    confidence: EvaluationConfidence = "high"
User
    id, username: NotBlankStr; password_hash: str; role: HumanRole;
    must_change_password: bool = True; org_roles: tuple[OrgRole, ...] = ();
    scoped_departments: Names = (); created_at, updated_at: AwareDatetime
ApiKey
    id, name, user_id, key_hash: NotBlankStr; role: HumanRole; created_at: AwareDatetime;
    expires_at: AwareDatetime?; revoked: bool = False
AgentLifecycleEvent
    id: NotBlankStr = new; agent_id, agent_name: NotBlankStr; event_type: LifecycleEventType;
    timestamp: AwareDatetime; initiated_by: NotBlankStr; details: str = "";
    metadata: dict[str, str] = {}
TaskMetricRecord
    id: NotBlankStr = new; agent_id, task_id: NotBlankStr; task_type: TaskType;
    started_at: AwareDatetime?; completed_at: AwareDatetime; is_success: bool;
    duration_seconds, cost_usd: float {0..}; turns_used, tokens_used: int;
    quality_score: float? {0..10}; complexity: Complexity
CollaborationMetricRecord
    id: NotBlankStr = new; agent_id: NotBlankStr; recorded_at: AwareDatetime;
    delegation_success: bool?; delegation_response_seconds: float? {0..};
    conflict_constructiveness, meeting_contribution: float? {0..1}; loop_triggered: bool = False;
    handoff_completeness: float? {0..1}; interaction_summary: NotBlankStr? {length 0..4096}
RiskCard
    decision_type: NotBlankStr; reversibility: Reversibility = "moderate";
    blast_radius: BlastRadius = "team"; time_horizon: TimeHorizon = "medium_term"
ConfidenceMetadata
    level, range_lower, range_upper: float {0..1};
    assumptions, uncertainty_factors: tuple[str, ...] = ()
LensAttribution
    lens, insight: NotBlankStr; weight: float {0..1}
DecisionRecord
    id, task_id: NotBlankStr; approval_id: NotBlankStr?;
    executing_agent_id, reviewer_agent_id: NotBlankStr; decision: DecisionOutcome;
    reason: NotBlankStr?; criteria_snapshot: Names = (); recorded_at: AwareDatetime;
    version: int {1..}; metadata: JsonObject = {}; risk_card: RiskCard?;
    confidence_metadata: ConfidenceMetadata?; lens_attribution: tuple[LensAttribution, ...] = ()
ApprovalItem
    id: NotBlankStr = new; action_type, title: NotBlankStr; description: str = "";
    requested_by: NotBlankStr; risk_level: ApprovalRiskLevel; status: ApprovalStatus = "pending";
    created_at: AwareDatetime; expires_at, decided_at: AwareDatetime?;
    decided_by, decision_reason, task_id: NotBlankStr?; metadata: dict[str, str] = {}
WorkflowNode
    id: NotBlankStr; type: WorkflowNodeType; label: NotBlankStr;
    position_x, position_y: float = 0.0; config: JsonObject = {}
WorkflowEdge
    id, source_node_id, target_node_id: NotBlankStr; type: WorkflowEdgeType = "sequential";
    label: NotBlankStr?
WorkflowDefinition
    id, name: NotBlankStr; description: str = "";
    workflow_type: WorkflowType = "sequential_pipeline"; nodes: tuple[WorkflowNode, ...] = ();
    edges: tuple[WorkflowEdge, ...] = (); created_by: NotBlankStr;
    created_at, updated_at: Moment = new; version: int {1..} = 1
WorkflowNodeExecution
    node_id: NotBlankStr; node_type: WorkflowNodeType;
    status: WorkflowNodeExecutionStatus = "pending"; task_id, skipped_reason: NotBlankStr?
WorkflowExecution
    id, definition_id: NotBlankStr; definition_version: int {1..};
    status: WorkflowExecutionStatus = "pending";
    node_executions: tuple[WorkflowNodeExecution, ...] = (); activated_by, project: NotBlankStr;
    created_at, updated_at: Moment = new; completed_at: Moment?; error: NotBlankStr?;
    version: int {1..} = 1
VersionSnapshot
    entity_id: NotBlankStr; version: int {1..}; content_hash: Sha256; snapshot: T;
    saved_by: NotBlankStr; saved_at: AwareDatetime
Role
    name: NotBlankStr; department: DepartmentName; required_skills: Names = ();
    authority_level: SeniorityLevel = "mid"; tool_access: Names = ();
    system_prompt_template: NotBlankStr?; description: str = ""
SkillSet
    primary, secondary: Names = ()
ModelConfig
    provider, model_id: NotBlankStr; temperature: float {0..2} = 0.7; max_tokens: int {>0..} = 4096;
    fallback_model: NotBlankStr?; model_tier: ModelTier?
Authority
    can_approve: Names = (); reports_to: NotBlankStr?; can_delegate_to: Names = ();
    budget_limit: float {0..} = 0.0
AgentIdentity
    id: UUID = new; name, role, department: NotBlankStr; level: SeniorityLevel = "mid";
    personality: PersonalityConfig = PersonalityConfig(); skills: SkillSet = SkillSet();
    model: ModelConfig; memory: MemoryConfig = MemoryConfig();
    tools: ToolPermissions = ToolPermissions(); authority: Authority = Authority();
    autonomy_level: AutonomyLevel?; strategic_output_mode: StrategicOutputMode?; hiring_date: date;
    status: AgentStatus = "active"
PersonalityConfig
    traits: Names = (); communication_style: NotBlankStr {length 0..100} = "neutral";
    risk_tolerance: RiskTolerance = "medium"; creativity: CreativityLevel = "medium";
    description: str {length 0..500} = "";
    openness, conscientiousness, extraversion, agreeableness, stress_response: float {0..1} = 0.5;
    decision_making: DecisionMakingStyle = "consultative";
    collaboration: CollaborationPreference = "team"; verbosity: CommunicationVerbosity = "balanced";
    conflict_approach: ConflictApproach = "collaborate"
ToolSubConstraints
    file_system: FileSystemScope = "project_directory"; network: NetworkMode = "open";
    git: GitAccess = "full"; code_execution: CodeExecutionIsolation = "containerized";
    terminal: TerminalAccess = "restricted_commands";
    requires_approval, network_allowlist: Names = ()
ToolPermissions
    access_level: ToolAccessLevel = "standard"; allowed, denied: Names = ();
    sub_constraints: ToolSubConstraints?
AgentRetentionRule
    category: MemoryCategory; retention_days: int {1..}
MemoryConfig
    type: MemoryLevel = "session"; retention_days: int? {1..};
    retention_overrides: tuple[AgentRetentionRule, ...] = ()
BudgetAlertConfig
    warn_at: int {0..100} = 75; critical_at: int {0..100} = 90; hard_stop_at: int {0..100} = 100
AutoDowngradeConfig
    enabled: bool = False; threshold: int {0..100} = 85;
    downgrade_map: tuple[tuple[NotBlankStr, NotBlankStr], ...] = ();
    boundary: Literal["task_assignment"] = "task_assignment"
RiskBudgetAlertConfig
    warn_at: int {0..100} = 75; critical_at: int {0..100} = 90
RiskBudgetConfig
    enabled: bool = False; per_task_risk_limit: float {0..} = 5.0;
    per_agent_daily_risk_limit: float {0..} = 20.0; total_daily_risk_limit: float {0..} = 100.0;
    alerts: RiskBudgetAlertConfig = RiskBudgetAlertConfig()
BudgetConfig
    total_monthly: float {0..} = 100.0; alerts: BudgetAlertConfig = BudgetAlertConfig();
    per_task_limit: float {0..} = 5.0; per_agent_daily_limit: float {0..} = 10.0;
    auto_downgrade: AutoDowngradeConfig = AutoDowngradeConfig(); reset_day: int {1..28} = 1;
    currency: str = "EUR"; risk_budget: RiskBudgetConfig = RiskBudgetConfig()
IntelligenceConfig
    enabled: bool = True; weight: float {0..1} = 0.2;
    ci_quality_enabled, llm_calibration_enabled: bool = True; ci_quality_weight: float {0..1} = 0.7;
    llm_calibration_weight: float {0..1} = 0.3
EfficiencyConfig
    enabled: bool = True; weight: float {0..1} = 0.2;
    cost_enabled, time_enabled, tokens_enabled: bool = True; cost_weight: float {0..1} = 0.4;
    time_weight, tokens_weight: float {0..1} = 0.3; reference_cost_usd: float {>0..} = 10.0;
    reference_time_seconds: float {>0..} = 300.0; reference_tokens: int {>0..} = 5000
ResilienceConfig
    enabled: bool = True; weight: float {0..1} = 0.2;
    success_rate_enabled, recovery_rate_enabled, consistency_enabled, streak_enabled: bool = True;
    success_rate_weight: float {0..1} = 0.4; recovery_rate_weight: float {0..1} = 0.25;
    consistency_weight: float {0..1} = 0.2; streak_weight: float {0..1} = 0.15;
    streak_factor: float {>0..} = 1.0; consistency_k: float {>0..} = 2.0
GovernanceConfig
    enabled: bool = True; weight: float {0..1} = 0.2;
    audit_compliance_enabled, trust_level_enabled, autonomy_compliance_enabled: bool = True;
    audit_compliance_weight: float {0..1} = 0.5; trust_level_weight: float {0..1} = 0.3;
    autonomy_compliance_weight: float {0..1} = 0.2
ExperienceConfig
    enabled: bool = True; weight: float {0..1} = 0.2;
    clarity_enabled, tone_enabled, helpfulness_enabled, trust_enabled,
    satisfaction_enabled: bool = True;
    clarity_weight: float {0..1} = 0.25; tone_weight: float {0..1} = 0.15;
    helpfulness_weight: float {0..1} = 0.25; trust_weight: float {0..1} = 0.2;
    satisfaction_weight: float {0..1} = 0.15; min_feedback_count: int {1..} = 3
EvaluationConfig
    intelligence: IntelligenceConfig = IntelligenceConfig();
    efficiency: EfficiencyConfig = EfficiencyConfig();
    resilience: ResilienceConfig = ResilienceConfig();
    governance: GovernanceConfig = GovernanceConfig();
    experience: ExperienceConfig = ExperienceConfig();
    calibration_drift_threshold: float {0..10} = 2.0
WorkflowHandoff
    from_department, to_department, trigger: NotBlankStr; artifacts: Names = ()
EscalationPath
    from_department, to_department, condition: NotBlankStr; priority_boost: int {0..3} = 1
HRRegistry
    active_agents, available_roles, hiring_queue: Names = ()
CompanyConfig
    autonomy: AutonomyConfig = AutonomyConfig();
    approval_timeout: ApprovalTimeoutConfig = WaitForeverConfig();
    budget_monthly: float {0..} = 100.0; communication_pattern: NotBlankStr = "hybrid";
    tool_access_default: Names = ()
Company
    id: UUID = new; name: NotBlankStr; type: CompanyType = "custom";
    departments: tuple[Department, ...] = (); config: CompanyConfig = CompanyConfig();
    hr_registry: HRRegistry = HRRegistry(); workflow_handoffs: tuple[WorkflowHandoff, ...] = ();
    escalation_paths: tuple[EscalationPath, ...] = ()
AutonomyPreset
    level: AutonomyLevel; description: NotBlankStr; auto_approve, human_approval: Names = ();
    security_agent: bool = True
AutonomyConfig
    level: AutonomyLevel = "semi"; presets: dict[str, AutonomyPreset] = PRESETS
WaitForeverConfig
    policy: Literal["wait"] = "wait"
DenyOnTimeoutConfig
    policy: Literal["deny"] = "deny"; timeout_minutes: float {>0..} = 240.0
TierConfig
    timeout_minutes: float {>0..}; on_timeout: TimeoutActionType = "deny"; actions: Names = ()
TieredTimeoutConfig
    policy: Literal["tiered"] = "tiered"; tiers: dict[ApprovalRiskLevel, TierConfig] = {}
EscalationStep
    role: NotBlankStr; timeout_minutes: float {>0..}
EscalationChainConfig
    policy: Literal["escalation"] = "escalation"; chain: tuple[EscalationStep, ...] {length 1..};
    on_chain_exhausted: TimeoutActionType = "deny"
Team
    name, lead: NotBlankStr; members: Names = ()
ReportingLine
    subordinate, supervisor: NotBlankStr; subordinate_id, supervisor_id: NotBlankStr?
ReviewRequirements
    min_reviewers: int = 1; required_reviewer_roles: Names = (); self_review_allowed: bool = False
ApprovalChain
    action_type: NotBlankStr; approvers: Names {length 1..}; min_approvals: int = 0
DepartmentPolicies
    review_requirements: ReviewRequirements = ReviewRequirements();
    approval_chains: tuple[ApprovalChain, ...] = ()
Department
    name: NotBlankStr; head, head_id: NotBlankStr?; budget_percent: float {0..100} = 0.0;
    teams: tuple[Team, ...] = (); reporting_lines: tuple[ReportingLine, ...] = ();
    autonomy_level: AutonomyLevel?; policies: DepartmentPolicies = DepartmentPolicies();
    ceremony_policy: JsonObject?
OrgFactAuthor
    agent_id: NotBlankStr?; seniority: SeniorityLevel?; autonomy_level: AutonomyLevel?;
    is_human: bool = False
OrgFact
    id, content: NotBlankStr; category: OrgFactCategory; tags: Names = (); author: OrgFactAuthor;
    created_at: AwareDatetime
OrgFactWriteRequest
    content: NotBlankStr; category: OrgFactCategory; tags: Names = ()
OrgMemoryQuery
    context: NotBlankStr?; categories: frozenset[OrgFactCategory]?; limit: int {1..100} = 5
OperationLogEntry
    operation_id, fact_id: NotBlankStr; operation_type: Literal["PUBLISH", "RETRACT"];
    content: NotBlankStr?; category: OrgFactCategory?; tags: Names = ();
    author_agent_id: NotBlankStr?; author_seniority: SeniorityLevel?; author_is_human: bool = False;
    author_autonomy_level: AutonomyLevel?; timestamp: AwareDatetime; version: int {1..}
OperationLogSnapshot
    fact_id, content: NotBlankStr; category: OrgFactCategory; tags: Names = ();
    created_at: AwareDatetime; retracted_at: AwareDatetime?; version: int {1..}
CategoryWriteRule
    allowed_seniority: SeniorityLevel?; human_allowed: bool = True
WriteAccessConfig
    rules: dict[OrgFactCategory, CategoryWriteRule] = RULES
ExtendedStoreConfig
    backend: Literal["sqlite"] = "sqlite"; max_retrieved_per_query: int {1..50} = 5
OrgMemoryConfig
    backend: Literal["hybrid_prompt_retrieval"] = "hybrid_prompt_retrieval";
    core_policies: Names = (); extended_store: ExtendedStoreConfig = ExtendedStoreConfig();
    write_access: WriteAccessConfig = WriteAccessConfig()
RiskTierOverride
    id, action_type: NotBlankStr; original_tier, override_tier: ApprovalRiskLevel;
    reason, created_by: NotBlankStr; created_at, expires_at: AwareDatetime;
    revoked_at: AwareDatetime?; revoked_by: NotBlankStr?
SsrfViolation
    id: NotBlankStr; timestamp: AwareDatetime; url, hostname: NotBlankStr; port: int {1..65535};
    resolved_ip, blocked_range, provider_name: NotBlankStr?;
    status: SsrfViolationStatus = "pending"; resolved_by: NotBlankStr?; resolved_at: AwareDatetime?
CircuitBreakerStateRecord
    pair_key_a, pair_key_b: NotBlankStr; bounce_count, trip_count: int; opened_at: float?
Session
    id, user_id: NotBlankStr; created_at, expires_at: AwareDatetime; last_active_at: AwareDatetime?;
    ip_address, user_agent: str = ""; revoked: bool = False
RefreshRecord
    token_hash, session_id, user_id: NotBlankStr; created_at, expires_at: AwareDatetime;
    used_at: AwareDatetime?
LockoutConfig
    max_attempts: int {>0..} = 5; window_seconds, lockout_seconds: float {>0..} = 900.0
Lockout
    username: NotBlankStr; failures: int {1..}; window_started_at, last_failure_at: AwareDatetime;
    last_ip: str = ""; locked_until: AwareDatetime?
IdempotencyRecord
    scope, key: NotBlankStr; status: IdempotencyStatus; claim_token: NotBlankStr;
    claimed_at, expires_at: AwareDatetime; finished_at: AwareDatetime?; response: str?;
    error: NotBlankStr?
"""
