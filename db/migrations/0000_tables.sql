CREATE TABLE "cas_backends" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"org_id" uuid NOT NULL,
	"name" text NOT NULL,
	"provider" text NOT NULL,
	"location" text NOT NULL,
	"insecure" boolean DEFAULT false NOT NULL,
	"credentials" "bytea",
	"is_default" boolean DEFAULT false NOT NULL,
	"status" text NOT NULL,
	"problem" text,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"validated_at" timestamp (6) with time zone,
	CONSTRAINT "cas_backends_owner" UNIQUE("org_id","id"),
	CONSTRAINT "cas_backends_name_key" UNIQUE("org_id","name"),
	CONSTRAINT "cas_backends_name" CHECK (length("cas_backends"."name") <= 63 and "cas_backends"."name" ~ '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'),
	CONSTRAINT "cas_backends_provider" CHECK ("cas_backends"."provider" in ('layout', 'oci')),
	CONSTRAINT "cas_backends_status" CHECK ("cas_backends"."status" in ('ok', 'invalid'))
);
--> statement-breakpoint
ALTER TABLE "cas_backends" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "contract_revisions" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"org_id" uuid NOT NULL,
	"contract_id" uuid NOT NULL,
	"revision" integer NOT NULL,
	"format" text NOT NULL,
	"body" text NOT NULL,
	"content" jsonb NOT NULL,
	"content_digest" "bytea" NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "contract_revisions_owner" UNIQUE("org_id","id"),
	CONSTRAINT "contract_revisions_number" UNIQUE("contract_id","revision"),
	CONSTRAINT "contract_revisions_from_1" CHECK ("contract_revisions"."revision" >= 1),
	CONSTRAINT "contract_revisions_format" CHECK ("contract_revisions"."format" in ('yaml', 'json', 'cue')),
	CONSTRAINT "contract_revisions_digest" CHECK (octet_length("contract_revisions"."content_digest") = 32)
);
--> statement-breakpoint
ALTER TABLE "contract_revisions" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "contracts" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"org_id" uuid NOT NULL,
	"name" text NOT NULL,
	"latest_revision" integer DEFAULT 1 NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp (6) with time zone,
	CONSTRAINT "contracts_owner" UNIQUE("org_id","id"),
	CONSTRAINT "contracts_name" CHECK (length("contracts"."name") <= 63 and "contracts"."name" ~ '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')
);
--> statement-breakpoint
ALTER TABLE "contracts" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "evidence" (
	"org_id" uuid NOT NULL,
	"digest" "bytea" NOT NULL,
	"cas_backend_id" uuid NOT NULL,
	"size_bytes" bigint NOT NULL,
	"media_type" text NOT NULL,
	"file_name" text,
	"manifest_digest" "bytea",
	"uploaded_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "evidence_org_id_digest_pk" PRIMARY KEY("org_id","digest"),
	CONSTRAINT "evidence_digests" CHECK (octet_length("evidence"."digest") = 32 and octet_length("evidence"."manifest_digest") = 32),
	CONSTRAINT "evidence_size" CHECK ("evidence"."size_bytes" >= 0)
);
--> statement-breakpoint
ALTER TABLE "evidence" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "organizations" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"name" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "organizations_name_key" UNIQUE("name"),
	CONSTRAINT "organizations_name" CHECK (length("organizations"."name") <= 63 and "organizations"."name" ~ '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')
);
--> statement-breakpoint
ALTER TABLE "organizations" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "projects" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"org_id" uuid NOT NULL,
	"name" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "projects_owner" UNIQUE("org_id","id"),
	CONSTRAINT "projects_name_key" UNIQUE("org_id","name"),
	CONSTRAINT "projects_name" CHECK (length("projects"."name") <= 63 and "projects"."name" ~ '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')
);
--> statement-breakpoint
ALTER TABLE "projects" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "public_keys" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"org_id" uuid NOT NULL,
	"name" text NOT NULL,
	"hint" text NOT NULL,
	"type" text NOT NULL,
	"pem" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "public_keys_name_key" UNIQUE("org_id","name"),
	CONSTRAINT "public_keys_hint_key" UNIQUE("org_id","hint"),
	CONSTRAINT "public_keys_name" CHECK (length("public_keys"."name") <= 63 and "public_keys"."name" ~ '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')
);
--> statement-breakpoint
ALTER TABLE "public_keys" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "run_materials" (
	"org_id" uuid NOT NULL,
	"run_id" uuid NOT NULL,
	"name" text NOT NULL,
	"type" text NOT NULL,
	"digest" "bytea",
	"value" text,
	"file_name" text,
	"size_bytes" bigint,
	"uploaded" boolean NOT NULL,
	"tag" text,
	"annotations" jsonb NOT NULL,
	CONSTRAINT "run_materials_run_id_name_pk" PRIMARY KEY("run_id","name"),
	CONSTRAINT "run_materials_name" CHECK (length("run_materials"."name") <= 63 and "run_materials"."name" ~ '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'),
	CONSTRAINT "run_materials_content" CHECK (("run_materials"."type" = 'STRING') = ("run_materials"."value" is not null) and ("run_materials"."value" is not null or "run_materials"."digest" is not null)),
	CONSTRAINT "run_materials_digest" CHECK (octet_length("run_materials"."digest") = 32),
	CONSTRAINT "run_materials_size" CHECK ("run_materials"."size_bytes" >= 0)
);
--> statement-breakpoint
ALTER TABLE "run_materials" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "runner_counts" (
	"org_id" uuid NOT NULL,
	"workflow_id" uuid NOT NULL,
	"runner_type" text NOT NULL,
	"runs" integer NOT NULL,
	CONSTRAINT "runner_counts_workflow_id_runner_type_pk" PRIMARY KEY("workflow_id","runner_type")
);
--> statement-breakpoint
ALTER TABLE "runner_counts" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "runs" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"org_id" uuid NOT NULL,
	"workflow_id" uuid NOT NULL,
	"contract_revision_id" uuid NOT NULL,
	"state" text DEFAULT 'initialized' NOT NULL,
	"idempotency_key" text NOT NULL,
	"runner_type" text,
	"runner_url" text,
	"runner_environment" text,
	"runner_workflow_file_path" text,
	"runner_authenticated" boolean DEFAULT false NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL,
	"finished_at" timestamp (6) with time zone,
	"reason" text,
	"bundle_digest" "bytea",
	"bundle_size_bytes" integer,
	"statement_digest" "bytea",
	"predicate_type" text,
	"signer" text,
	CONSTRAINT "runs_owner" UNIQUE("org_id","id"),
	CONSTRAINT "runs_idempotency_key" UNIQUE("workflow_id","idempotency_key"),
	CONSTRAINT "runs_state" CHECK ("runs"."state" in ('initialized', 'success', 'failed', 'cancelled', 'expired')),
	CONSTRAINT "runs_finished" CHECK (("runs"."state" = 'initialized') = ("runs"."finished_at" is null)),
	CONSTRAINT "runs_attested" CHECK (("runs"."state" = 'success') = (num_nonnulls("runs"."bundle_digest", "runs"."bundle_size_bytes", "runs"."statement_digest", "runs"."predicate_type", "runs"."signer") = 5)
      and ("runs"."state" = 'success' or num_nonnulls("runs"."bundle_digest", "runs"."bundle_size_bytes", "runs"."statement_digest", "runs"."predicate_type", "runs"."signer") = 0)),
	CONSTRAINT "runs_digests" CHECK (octet_length("runs"."bundle_digest") = 32 and octet_length("runs"."statement_digest") = 32),
	CONSTRAINT "runs_runner" CHECK ("runs"."runner_type" ~ '^[A-Z][A-Z_]{0,62}$'),
	CONSTRAINT "runs_key" CHECK (length("runs"."idempotency_key") between 16 and 128)
);
--> statement-breakpoint
ALTER TABLE "runs" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "settings" (
	"key" text PRIMARY KEY NOT NULL,
	"value" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "settings" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "tokens" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"org_id" uuid,
	"kind" text NOT NULL,
	"name" text NOT NULL,
	"hash" "bytea" NOT NULL,
	"workflow_id" uuid,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp (6) with time zone,
	"revoked_at" timestamp (6) with time zone,
	"last_used_at" timestamp (6) with time zone,
	CONSTRAINT "tokens_hash_key" UNIQUE("hash"),
	CONSTRAINT "tokens_name" CHECK (length("tokens"."name") <= 63 and "tokens"."name" ~ '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'),
	CONSTRAINT "tokens_hash" CHECK (octet_length("tokens"."hash") = 32),
	CONSTRAINT "tokens_bound" CHECK (case "tokens"."kind" when 'owner' then num_nonnulls("tokens"."org_id", "tokens"."workflow_id") = 0
      when 'api' then "tokens"."org_id" is not null and "tokens"."workflow_id" is null
      when 'service-account' then num_nonnulls("tokens"."org_id", "tokens"."workflow_id") = 2 else false end)
);
--> statement-breakpoint
ALTER TABLE "tokens" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "workflows" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"org_id" uuid NOT NULL,
	"project_id" uuid NOT NULL,
	"contract_id" uuid NOT NULL,
	"name" text NOT NULL,
	"team" text DEFAULT '' NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp (6) with time zone,
	"runs_count" integer DEFAULT 0 NOT NULL,
	"runs_initialized" integer DEFAULT 0 NOT NULL,
	"runs_success" integer DEFAULT 0 NOT NULL,
	"runs_failed" integer DEFAULT 0 NOT NULL,
	"runs_cancelled" integer DEFAULT 0 NOT NULL,
	"runs_expired" integer DEFAULT 0 NOT NULL,
	"last_run_id" uuid,
	"last_run_state" text,
	"last_run_at" timestamp (6) with time zone,
	CONSTRAINT "workflows_owner" UNIQUE("org_id","id"),
	CONSTRAINT "workflows_name" CHECK (length("workflows"."name") <= 63 and "workflows"."name" ~ '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'),
	CONSTRAINT "workflows_team" CHECK (length("workflows"."team") <= 256),
	CONSTRAINT "workflows_counters" CHECK (least("workflows"."runs_initialized", "workflows"."runs_success", "workflows"."runs_failed", "workflows"."runs_cancelled", "workflows"."runs_expired") >= 0
      and "workflows"."runs_count" = "workflows"."runs_initialized" + "workflows"."runs_success" + "workflows"."runs_failed" + "workflows"."runs_cancelled" + "workflows"."runs_expired")
);
--> statement-breakpoint
ALTER TABLE "workflows" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "cas_backends" ADD CONSTRAINT "cas_backends_organization" FOREIGN KEY ("org_id") REFERENCES "public"."organizations"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "contract_revisions" ADD CONSTRAINT "contract_revisions_contract" FOREIGN KEY ("org_id","contract_id") REFERENCES "public"."contracts"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "contracts" ADD CONSTRAINT "contracts_organization" FOREIGN KEY ("org_id") REFERENCES "public"."organizations"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "evidence" ADD CONSTRAINT "evidence_cas_backend" FOREIGN KEY ("org_id","cas_backend_id") REFERENCES "public"."cas_backends"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "projects" ADD CONSTRAINT "projects_organization" FOREIGN KEY ("org_id") REFERENCES "public"."organizations"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "public_keys" ADD CONSTRAINT "public_keys_organization" FOREIGN KEY ("org_id") REFERENCES "public"."organizations"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "run_materials" ADD CONSTRAINT "run_materials_run" FOREIGN KEY ("org_id","run_id") REFERENCES "public"."runs"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "runner_counts" ADD CONSTRAINT "runner_counts_workflow" FOREIGN KEY ("org_id","workflow_id") REFERENCES "public"."workflows"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_workflow" FOREIGN KEY ("org_id","workflow_id") REFERENCES "public"."workflows"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_contract_revision" FOREIGN KEY ("org_id","contract_revision_id") REFERENCES "public"."contract_revisions"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "tokens" ADD CONSTRAINT "tokens_organization" FOREIGN KEY ("org_id") REFERENCES "public"."organizations"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "tokens" ADD CONSTRAINT "tokens_workflow" FOREIGN KEY ("org_id","workflow_id") REFERENCES "public"."workflows"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "workflows" ADD CONSTRAINT "workflows_project" FOREIGN KEY ("org_id","project_id") REFERENCES "public"."projects"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "workflows" ADD CONSTRAINT "workflows_contract" FOREIGN KEY ("org_id","contract_id") REFERENCES "public"."contracts"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "cas_backends_one_default" ON "cas_backends" USING btree ("org_id") WHERE is_default;--> statement-breakpoint
CREATE UNIQUE INDEX "contracts_name_key" ON "contracts" USING btree ("org_id","name") WHERE deleted_at is null;--> statement-breakpoint
CREATE INDEX "contracts_newest" ON "contracts" USING btree ("org_id","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX "evidence_by_cas_backend" ON "evidence" USING btree ("cas_backend_id");--> statement-breakpoint
CREATE INDEX "run_materials_by_digest" ON "run_materials" USING btree ("org_id","digest");--> statement-breakpoint
CREATE INDEX "runs_newest" ON "runs" USING btree ("org_id","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX "runs_newest_of_workflow" ON "runs" USING btree ("workflow_id","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX "runs_open" ON "runs" USING btree ("expires_at") WHERE state = 'initialized';--> statement-breakpoint
CREATE UNIQUE INDEX "tokens_api_name_key" ON "tokens" USING btree ("org_id","name") WHERE kind = 'api' and revoked_at is null;--> statement-breakpoint
CREATE UNIQUE INDEX "tokens_service_account_name_key" ON "tokens" USING btree ("org_id","workflow_id","name") WHERE kind = 'service-account' and revoked_at is null;--> statement-breakpoint
CREATE INDEX "tokens_newest" ON "tokens" USING btree ("org_id","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE UNIQUE INDEX "workflows_name_key" ON "workflows" USING btree ("project_id","name") WHERE deleted_at is null;--> statement-breakpoint
CREATE INDEX "workflows_newest" ON "workflows" USING btree ("org_id","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX "workflows_by_contract" ON "workflows" USING btree ("contract_id");--> statement-breakpoint
CREATE POLICY "tenant" ON "cas_backends" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "system" ON "cas_backends" AS PERMISSIVE FOR ALL TO "chainloop_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "contract_revisions" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "tenant" ON "contracts" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "tenant" ON "evidence" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "tenant" ON "organizations" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "system" ON "organizations" AS PERMISSIVE FOR ALL TO "chainloop_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "projects" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "system" ON "projects" AS PERMISSIVE FOR ALL TO "chainloop_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "public_keys" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "tenant" ON "run_materials" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "tenant" ON "runner_counts" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "system" ON "runner_counts" AS PERMISSIVE FOR ALL TO "chainloop_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "runs" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "system" ON "runs" AS PERMISSIVE FOR ALL TO "chainloop_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "system" ON "settings" AS PERMISSIVE FOR ALL TO "chainloop_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "tokens" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "system" ON "tokens" AS PERMISSIVE FOR ALL TO "chainloop_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "workflows" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "system" ON "workflows" AS PERMISSIVE FOR ALL TO "chainloop_system" USING (true) WITH CHECK (true);