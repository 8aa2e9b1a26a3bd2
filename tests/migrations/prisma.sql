-- A legacy database, as Prisma and years of hands made it: more columns, indexes, triggers and tables than ours.

CREATE TABLE "User" (
    "id" text NOT NULL CONSTRAINT "User_pkey" PRIMARY KEY,
    "email" text NOT NULL,
    "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE UNIQUE INDEX "User_email_key" ON "User" ("email");

CREATE TABLE "Project" (
    "id" text NOT NULL,
    "userId" text NOT NULL,
    "name" text NOT NULL,
    "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "agencyPackId" text,
    "status" text,
    "charterJson" jsonb,
    "rfpBundleMeta" jsonb,
    "sloJson" jsonb,
    "factsJson" jsonb,
    "coverageJson" jsonb,
    "rfpNormJson" jsonb,
    "conflictLogJson" jsonb,
    "eligibilityJson" jsonb,
    "meta" jsonb,
    "touchedAt" timestamp(3),
    "rank" serial,
    "nameLength" integer GENERATED ALWAYS AS (length("name")) STORED,
    CONSTRAINT "Project_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "Project_name_check" CHECK ("name" <> '')
) WITH (fillfactor = 90);
ALTER TABLE "Project" ADD CONSTRAINT "Project_userId_fkey"
    FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE CASCADE ON UPDATE CASCADE;
CREATE INDEX "Project_userId_createdAt_idx" ON "Project" ("userId", "createdAt" DESC);
CREATE INDEX "Project_factsJson_idx" ON "Project" USING gin ("factsJson");
COMMENT ON TABLE "Project" IS 'What people work on';
GRANT SELECT ON "Project" TO PUBLIC;

CREATE FUNCTION touch_project() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW."touchedAt" := clock_timestamp();
    RETURN NEW;
END
$$;
CREATE TRIGGER "Project_touch" BEFORE UPDATE ON "Project" FOR EACH ROW EXECUTE FUNCTION touch_project();
CREATE VIEW "RecentProject" AS SELECT * FROM "Project" ORDER BY "createdAt" DESC LIMIT 100;

CREATE TABLE "Section" (
    "id" text NOT NULL CONSTRAINT "Section_pkey" PRIMARY KEY,
    "projectId" text NOT NULL CONSTRAINT "Section_projectId_fkey"
        REFERENCES "Project" ("id") ON DELETE CASCADE ON UPDATE CASCADE,
    "contentJson" jsonb
);
CREATE TYPE "UploadKind" AS ENUM ('RFP', 'FACTS');
CREATE TABLE "Upload" (
    "id" text NOT NULL CONSTRAINT "Upload_pkey" PRIMARY KEY,
    "projectId" text CONSTRAINT "Upload_projectId_fkey"
        REFERENCES "Project" ("id") ON DELETE SET NULL ON UPDATE CASCADE,
    "kind" "UploadKind" NOT NULL,
    "size" numeric(12, 2)
);
CREATE TABLE "_prisma_migrations" (id varchar(36) PRIMARY KEY, migration_name varchar(255) NOT NULL);

INSERT INTO "_prisma_migrations" VALUES ('6f1c', '20240101000000_init');
INSERT INTO "User" VALUES
    ('u1', 'ada@example.com', '2024-01-01 12:00:00.123'),
    ('u2', 'bob@example.com', '2024-02-29 23:59:59.999');

INSERT INTO "Project" ("id", "userId", "name", "createdAt", "factsJson", "coverageJson", "rfpNormJson",
                       "conflictLogJson", "eligibilityJson", "meta", "charterJson", "status") VALUES
    ('cmgk3q0zt0001l508h2f4x9ab', 'u1', 'All five', '2024-03-01 08:00:00.001', '[{"id": "f1", "text": "é"}]',
     '{"score": 0.10}', '{"meta": {"title": "A call"}}', '[{"type": "section_conflict", "key": "k"}]',
     '{"items": []}', '{"chat": [{"role": "user", "content": "Hello"}]}', '{"kept": [1, null]}', 'draft'),
    ('nothing', 'u1', 'SQL NULLs', '2024-03-02', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('null', 'u1', 'JSON nulls', '2024-03-03', 'null', 'null', 'null', 'null', 'null', 'null', 'null', 'null'),
    ('a/b "c" ''d'' ü 漢', 'u2', 'An odd id', '1970-01-01', '"a string"', '0.30', '[]', '{}', '[1, "two", null]',
     '{"chat": {}}', NULL, ''),
    ('numbers', 'u2', 'Digits', '2024-03-04', '{"n": 0.30000000000000004}', '1e400',
     '{"n": 1234567890123456789012345678901234567890}', '[1.50]', '{"items": [1e-30]}', NULL, NULL, NULL),
    ('long', 'u2', 'Large', '2024-03-05', (SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 20000) i), NULL,
     jsonb_build_object('text', repeat('x', 500000)), NULL, NULL, NULL, NULL, NULL);
INSERT INTO "Project" ("id", "userId", "name", "factsJson")
    SELECT 'p' || i, 'u' || 1 + i % 2, 'Project ' || i, jsonb_build_object('n', i) FROM generate_series(1, 300) i;
INSERT INTO "Section" SELECT 's-' || "id", "id", '{"text": "kept"}' FROM "Project";
INSERT INTO "Upload" VALUES ('up1', 'nothing', 'RFP', 12.30), ('up2', NULL, 'FACTS', NULL);
