-- What the application's own migrations add to prisma.sql where Prisma carried out the first step of the plan: tables
-- of runs, events and sessions, as Prisma names and types them, in their latest version.

CREATE TABLE "AgentWorkflowRun" (
    "id" TEXT NOT NULL,
    "workflowId" TEXT NOT NULL,
    "projectId" TEXT,
    "status" TEXT NOT NULL DEFAULT 'pending',
    "input" JSONB,
    "result" JSONB,
    "error" TEXT,
    "startedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "completedAt" TIMESTAMP(3),
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,
    "agentSessionId" TEXT,
    "metrics" JSONB,
    CONSTRAINT "AgentWorkflowRun_pkey" PRIMARY KEY ("id")
);
CREATE TABLE "AgentWorkflowRunEvent" (
    "id" TEXT NOT NULL,
    "runId" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "payload" JSONB,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "AgentWorkflowRunEvent_pkey" PRIMARY KEY ("id")
);
CREATE TABLE "AgentSession" (
    "id" TEXT NOT NULL,
    "projectId" TEXT NOT NULL,
    "agentRunId" TEXT,
    "memoryId" TEXT,
    "transcriptJson" JSONB,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,
    CONSTRAINT "AgentSession_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "AgentWorkflowRun_workflowId_idx" ON "AgentWorkflowRun" ("workflowId");
CREATE INDEX "AgentWorkflowRun_projectId_idx" ON "AgentWorkflowRun" ("projectId");
CREATE INDEX "AgentWorkflowRun_status_idx" ON "AgentWorkflowRun" ("status");
CREATE INDEX "AgentWorkflowRun_an_index_whose_name_leaves_no_room_for_the_suffix" ON "AgentWorkflowRun" ("startedAt");
CREATE INDEX "AgentWorkflowRunEvent_runId_createdAt_idx" ON "AgentWorkflowRunEvent" ("runId", "createdAt");
CREATE INDEX "AgentSession_projectId_idx" ON "AgentSession" ("projectId");
CREATE UNIQUE INDEX "AgentSession_agentRunId_key" ON "AgentSession" ("agentRunId");
ALTER TABLE "AgentWorkflowRun" ADD CONSTRAINT "AgentWorkflowRun_projectId_fkey"
    FOREIGN KEY ("projectId") REFERENCES "Project" ("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE "AgentWorkflowRun" ADD CONSTRAINT "AgentWorkflowRun_agentSessionId_fkey"
    FOREIGN KEY ("agentSessionId") REFERENCES "AgentSession" ("id") ON DELETE SET NULL ON UPDATE CASCADE;
INSERT INTO "_prisma_migrations" VALUES ('6f1d', '20251007000000_agentkit_state_refactor');

-- Without the foreign keys of events and sessions, so that rows are there whose run or project is gone, as a restored
-- backup has them.
INSERT INTO "AgentSession" VALUES
    ('s1', 'nothing', 'r1', 'memory', '[{"role": "user", "content": "Hello", "at": "2025-10-07T10:00:00Z"},
        {"role": "assistant", "content": [{"type": "text", "text": "Hi 0.10"}], "model": "m", "score": 0.10},
        {"role": "user", "content": "At null", "at": null}, {"content": "without role"}, "a string", null, 1.50]',
     '2025-10-07 10:00:00.123', '2025-10-07 11:00:00.456'),
    ('s2', 'nothing', 'legacy_numbers', NULL, NULL, '2025-10-07 10:00:00', '2025-10-07 10:00:00'),
    ('s3', 'null', NULL, NULL, '{"entries": 1}', '2025-10-07 10:00:00', '2025-10-07 10:00:00'),
    ('s4', 'null', 'r-gone', NULL, 'null', '2025-10-07 10:00:00', '2025-10-07 10:00:00'),
    ('s5', 'gone', NULL, NULL, '[]', '2025-10-07 10:00:00', '2025-10-07 10:00:00'),
    ('legacy_null', 'null', NULL, NULL, '[]', '2025-10-07 10:00:00', '2025-10-07 10:00:00');
INSERT INTO "AgentWorkflowRun" ("id", "workflowId", "projectId", "status", "input", "result", "error", "startedAt",
                                "completedAt", "createdAt", "updatedAt", "agentSessionId", "metrics") VALUES
    ('r1', 'wf_intake', 'nothing', 'succeeded', '{"documents": 3}', '{"coverage": 0.10}', NULL,
     '2025-10-07 10:00:00.001', '2025-10-07 10:05:00.002', '2025-10-07 10:00:00', '2025-10-07 10:05:00', 's1',
     '{"tokens": 12, "cost": null}'),
    ('r2', 'wf_intake', 'a/b "c" ''d'' ü 漢', 'succeeded_fallback', NULL, 'null', 'the first model failed',
     '2025-10-07 10:00:00', '2025-10-07 10:05:00', '2025-10-07 10:00:00', '2025-10-07 10:05:00', NULL, NULL),
    ('r3', 'wf_intake', NULL, 'timed_out', '[1e400]', NULL, 'no answer', '2025-10-07 10:00:00', NULL,
     '2025-10-07 10:00:00', '2025-10-07 10:05:00', NULL, NULL),
    ('r4', 'wf_draft', 'null', 'running', 'null', NULL, NULL, '2025-10-07 10:00:00', NULL,
     '2025-10-07 10:00:00', '2025-10-07 10:05:00', NULL, NULL),
    ('r5', 'wf_draft', 'null', 'pending', NULL, NULL, NULL, '1970-01-01 00:00:00', NULL,
     '2025-10-07 10:00:00', '2025-10-07 10:05:00', NULL, NULL),
    ('legacy_numbers', 'legacy_snapshot', 'numbers', 'succeeded', '{"snapshotSource": "legacy"}', '{"facts": 1}', NULL,
     '1970-01-01 00:00:00', '2025-10-07 10:05:00', '2025-10-07 10:00:00', '2025-10-07 10:05:00', NULL, NULL);
INSERT INTO "AgentWorkflowRunEvent" VALUES
    ('e3', 'r1', 'tool.result', '{"at": "the same time"}', '2025-10-07 10:00:01.500'),
    ('e2', 'r1', 'tool.invocation', '{"n": 0.30000000000000004}', '2025-10-07 10:00:01.500'),
    ('e1', 'r1', 'coverage.delta', NULL, '2025-10-07 10:00:01'),
    ('e4', 'r1', 'state.changed', 'null', '2025-10-07 10:00:02'),
    ('e5', 'legacy_numbers', 'coverage.legacy', '{}', '2025-10-07 10:00:00'),
    ('e6', 'r-gone', 'tool.result', '{}', '2025-10-07 10:00:00');
-- More than a thousand events at the same millisecond, and one a millisecond later.
INSERT INTO "AgentWorkflowRunEvent"
    SELECT 'b' || lpad(i::text, 5, '0'), 'r2', 'step', to_jsonb(i), '2025-10-07 10:00:00.001'
    FROM generate_series(1, 1500) i;
INSERT INTO "AgentWorkflowRunEvent" VALUES ('c', 'r2', 'step', '1501', '2025-10-07 10:00:00.002');
