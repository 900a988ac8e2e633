CREATE TABLE "bindings" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"org_id" uuid NOT NULL,
	"workflow_id" uuid NOT NULL,
	"issuer" text NOT NULL,
	"repository" text NOT NULL,
	"repository_id" text,
	"owner_id" text,
	"refs" jsonb NOT NULL,
	"environment" text,
	"events" jsonb NOT NULL,
	"workflow_ref" text,
	"job_workflow_ref" text,
	"runner_environment" text,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"pending_until" timestamp (6) with time zone,
	"fixed_at" timestamp (6) with time zone,
	"last_used_at" timestamp (6) with time zone,
	"removed_at" timestamp (6) with time zone,
	CONSTRAINT "bindings_owner" UNIQUE("org_id","id"),
	CONSTRAINT "bindings_ids" CHECK (num_nonnulls("bindings"."repository_id", "bindings"."owner_id") <> 1),
	CONSTRAINT "bindings_pending" CHECK ("bindings"."repository_id" is not null or "bindings"."pending_until" is not null)
);
--> statement-breakpoint
ALTER TABLE "bindings" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "run_collected" (
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
	"job" text NOT NULL,
	"added_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "run_collected_run_id_name_pk" PRIMARY KEY("run_id","name"),
	CONSTRAINT "run_collected_name" CHECK (length("run_collected"."name") <= 63 and "run_collected"."name" ~ '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'),
	CONSTRAINT "run_collected_content" CHECK (("run_collected"."type" = 'STRING') = ("run_collected"."value" is not null) and ("run_collected"."value" is not null or "run_collected"."digest" is not null)),
	CONSTRAINT "run_collected_digest" CHECK (octet_length("run_collected"."digest") = 32),
	CONSTRAINT "run_collected_size" CHECK ("run_collected"."size_bytes" >= 0)
);
--> statement-breakpoint
ALTER TABLE "run_collected" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "run_credentials" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"org_id" uuid NOT NULL,
	"binding_id" uuid NOT NULL,
	"hash" "bytea" NOT NULL,
	"claims" jsonb NOT NULL,
	"natural_key" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL,
	CONSTRAINT "run_credentials_hash_key" UNIQUE("hash"),
	CONSTRAINT "run_credentials_hash" CHECK (octet_length("run_credentials"."hash") = 32)
);
--> statement-breakpoint
ALTER TABLE "run_credentials" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "trusted_identities" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"org_id" uuid NOT NULL,
	"name" text NOT NULL,
	"issuer" text NOT NULL,
	"san" text NOT NULL,
	"match" text NOT NULL,
	"trusted_root" text,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "trusted_identities_name_key" UNIQUE("org_id","name"),
	CONSTRAINT "trusted_identities_name" CHECK (length("trusted_identities"."name") <= 63 and "trusted_identities"."name" ~ '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'),
	CONSTRAINT "trusted_identities_match" CHECK ("trusted_identities"."match" in ('exact', 'prefix') and length("trusted_identities"."san") > 0)
);
--> statement-breakpoint
ALTER TABLE "trusted_identities" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "used_tokens" (
	"digest" "bytea" PRIMARY KEY NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL,
	CONSTRAINT "used_tokens_digest" CHECK (octet_length("used_tokens"."digest") = 32)
);
--> statement-breakpoint
ALTER TABLE "used_tokens" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "claims" jsonb;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "identity_san" text;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "identity_issuer" text;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "natural_key" text;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "ci_attempt" integer;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "start" jsonb;--> statement-breakpoint
ALTER TABLE "bindings" ADD CONSTRAINT "bindings_workflow" FOREIGN KEY ("org_id","workflow_id") REFERENCES "public"."workflows"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "run_collected" ADD CONSTRAINT "run_collected_run" FOREIGN KEY ("org_id","run_id") REFERENCES "public"."runs"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "run_credentials" ADD CONSTRAINT "run_credentials_binding" FOREIGN KEY ("org_id","binding_id") REFERENCES "public"."bindings"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "trusted_identities" ADD CONSTRAINT "trusted_identities_organization" FOREIGN KEY ("org_id") REFERENCES "public"."organizations"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "bindings_newest" ON "bindings" USING btree ("org_id","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX "bindings_by_owner" ON "bindings" USING btree ("issuer","owner_id") WHERE removed_at is null;--> statement-breakpoint
CREATE INDEX "bindings_by_name" ON "bindings" USING btree ("issuer",lower(repository)) WHERE removed_at is null and repository_id is null;--> statement-breakpoint
CREATE INDEX "run_credentials_by_expiry" ON "run_credentials" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "trusted_identities_newest" ON "trusted_identities" USING btree ("org_id","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX "used_tokens_by_expiry" ON "used_tokens" USING btree ("expires_at");--> statement-breakpoint
CREATE UNIQUE INDEX "runs_one_open" ON "runs" USING btree ("workflow_id","natural_key") WHERE state = 'initialized' and natural_key is not null;--> statement-breakpoint
CREATE INDEX "runs_by_natural_key" ON "runs" USING btree ("workflow_id","natural_key","ci_attempt") WHERE natural_key is not null;--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_identity" CHECK (("runs"."identity_san" is null) = ("runs"."identity_issuer" is null));--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_federated" CHECK (num_nonnulls("runs"."claims", "runs"."natural_key", "runs"."ci_attempt") in (0, 3) and ("runs"."natural_key" is null or "runs"."runner_authenticated"));--> statement-breakpoint
CREATE POLICY "tenant" ON "bindings" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "system" ON "bindings" AS PERMISSIVE FOR ALL TO "chainloop_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "run_collected" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "tenant" ON "run_credentials" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "system" ON "run_credentials" AS PERMISSIVE FOR ALL TO "chainloop_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "trusted_identities" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "system" ON "used_tokens" AS PERMISSIVE FOR ALL TO "chainloop_system" USING (true) WITH CHECK (true);