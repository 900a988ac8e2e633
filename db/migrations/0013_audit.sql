CREATE TABLE "audit_heads" (
	"org_id" uuid PRIMARY KEY NOT NULL,
	"sequence" bigint NOT NULL,
	"at" timestamp (6) with time zone NOT NULL,
	"previous" "bytea" NOT NULL,
	"hash" "bytea" NOT NULL,
	CONSTRAINT "audit_heads_hash" CHECK (octet_length("audit_heads"."hash") = 32)
);
--> statement-breakpoint
ALTER TABLE "audit_heads" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "audit_log" (
	"org_id" uuid NOT NULL,
	"sequence" bigint NOT NULL,
	"at" timestamp (6) with time zone NOT NULL,
	"actor_kind" text NOT NULL,
	"actor_id" text,
	"actor_name" text NOT NULL,
	"action" text NOT NULL,
	"resource_kind" text NOT NULL,
	"resource_name" text NOT NULL,
	"details" jsonb NOT NULL,
	"previous" "bytea" NOT NULL,
	"hash" "bytea" NOT NULL,
	CONSTRAINT "audit_log_org_id_sequence_pk" PRIMARY KEY("org_id","sequence"),
	CONSTRAINT "audit_log_sequence" CHECK ("audit_log"."sequence" >= 1),
	CONSTRAINT "audit_log_digests" CHECK (octet_length("audit_log"."previous") = 32 and octet_length("audit_log"."hash") = 32)
);
--> statement-breakpoint
ALTER TABLE "audit_log" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE INDEX "audit_log_by_time" ON "audit_log" USING btree ("org_id","at");--> statement-breakpoint
CREATE INDEX "audit_log_by_actor" ON "audit_log" USING btree ("org_id","actor_name","sequence");--> statement-breakpoint
CREATE INDEX "audit_log_by_action" ON "audit_log" USING btree ("org_id","action","sequence");--> statement-breakpoint
CREATE INDEX "audit_log_by_resource" ON "audit_log" USING btree ("org_id","resource_name","sequence");--> statement-breakpoint
CREATE POLICY "tenant" ON "audit_heads" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "system" ON "audit_heads" AS PERMISSIVE FOR ALL TO "chainloop_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "audit_log" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "system" ON "audit_log" AS PERMISSIVE FOR ALL TO "chainloop_system" USING (true) WITH CHECK (true);