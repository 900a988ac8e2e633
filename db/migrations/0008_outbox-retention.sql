CREATE TABLE "outbox" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"org_id" uuid NOT NULL,
	"run_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"step" integer NOT NULL,
	"cas_backend_id" uuid,
	"state" text DEFAULT 'pending' NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"due_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"lease" uuid,
	"error_code" text,
	"error" text,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"failed_at" timestamp (6) with time zone,
	CONSTRAINT "outbox_once" UNIQUE NULLS NOT DISTINCT("run_id","kind","cas_backend_id"),
	CONSTRAINT "outbox_kind" CHECK ("outbox"."kind" ~ '^[a-z][-a-z]{0,62}$'),
	CONSTRAINT "outbox_state" CHECK ("outbox"."state" in ('pending', 'failed') and ("outbox"."state" = 'failed') = ("outbox"."failed_at" is not null)),
	CONSTRAINT "outbox_error" CHECK (length("outbox"."error") <= 1000)
);
--> statement-breakpoint
ALTER TABLE "outbox" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "cas_backends" ADD COLUMN "is_mirror" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "evidence" ADD COLUMN "touched_at" timestamp (6) with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
ALTER TABLE "evidence" ADD COLUMN "pinned" boolean DEFAULT true NOT NULL;--> statement-breakpoint
ALTER TABLE "evidence" ADD COLUMN "removed_at" timestamp (6) with time zone;--> statement-breakpoint
ALTER TABLE "evidence" ADD COLUMN "deleting_at" timestamp (6) with time zone;--> statement-breakpoint
ALTER TABLE "organizations" ADD COLUMN "unpushed_days" integer DEFAULT 7 NOT NULL;--> statement-breakpoint
ALTER TABLE "organizations" ADD COLUMN "attestation_days" integer;--> statement-breakpoint
ALTER TABLE "organizations" ADD COLUMN "collected_at" timestamp (6) with time zone;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN IF NOT EXISTS "held_at" timestamp (6) with time zone;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "hold_reason" text;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "removed_at" timestamp (6) with time zone;--> statement-breakpoint
ALTER TABLE "workflows" ADD COLUMN "held_at" timestamp (6) with time zone;--> statement-breakpoint
ALTER TABLE "workflows" ADD COLUMN "hold_reason" text;--> statement-breakpoint
ALTER TABLE "outbox" ADD CONSTRAINT "outbox_run" FOREIGN KEY ("org_id","run_id") REFERENCES "public"."runs"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "outbox" ADD CONSTRAINT "outbox_cas_backend" FOREIGN KEY ("org_id","cas_backend_id") REFERENCES "public"."cas_backends"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "outbox_due" ON "outbox" USING btree ("due_at") WHERE state = 'pending';--> statement-breakpoint
CREATE INDEX "outbox_newest" ON "outbox" USING btree ("org_id","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX "outbox_by_cas_backend" ON "outbox" USING btree ("cas_backend_id");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "runs_held" ON "runs" USING btree ("org_id") WHERE held_at is not null;--> statement-breakpoint
ALTER TABLE "cas_backends" ADD CONSTRAINT "cas_backends_mirror" CHECK (not ("cas_backends"."is_default" and "cas_backends"."is_mirror"));--> statement-breakpoint
ALTER TABLE "evidence" ADD CONSTRAINT "evidence_deleting" CHECK ("evidence"."deleting_at" is null or "evidence"."removed_at" is not null) NOT VALID;--> statement-breakpoint
ALTER TABLE "organizations" ADD CONSTRAINT "organizations_retention" CHECK ("organizations"."unpushed_days" between 2 and 36500 and "organizations"."attestation_days" between 1 and 36500);--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_hold" CHECK (("runs"."held_at" is null) = ("runs"."hold_reason" is null)) NOT VALID;--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_removed" CHECK ("runs"."removed_at" is null or "runs"."state" = 'success') NOT VALID;--> statement-breakpoint
ALTER TABLE "workflows" ADD CONSTRAINT "workflows_hold" CHECK (("workflows"."held_at" is null) = ("workflows"."hold_reason" is null));--> statement-breakpoint
CREATE POLICY "tenant" ON "outbox" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));--> statement-breakpoint
CREATE POLICY "system" ON "outbox" AS PERMISSIVE FOR ALL TO "chainloop_system" USING (true) WITH CHECK (true);