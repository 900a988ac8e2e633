CREATE TABLE "verdicts" (
	"org_id" uuid NOT NULL,
	"run_id" uuid PRIMARY KEY NOT NULL,
	"level" smallint NOT NULL,
	"reasons" jsonb NOT NULL,
	"vsa_digest" "bytea" NOT NULL,
	"vsa_size_bytes" integer NOT NULL,
	"provenance_digest" "bytea",
	"provenance_size_bytes" integer,
	"issued_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "verdicts_level" CHECK ("verdicts"."level" between 1 and 3),
	CONSTRAINT "verdicts_digests" CHECK (octet_length("verdicts"."vsa_digest") = 32 and octet_length("verdicts"."provenance_digest") = 32),
	CONSTRAINT "verdicts_sizes" CHECK ("verdicts"."vsa_size_bytes" > 0 and ("verdicts"."provenance_digest" is null) = ("verdicts"."provenance_size_bytes" is null))
);
--> statement-breakpoint
ALTER TABLE "verdicts" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "run_collected" ADD COLUMN "job_workflow_ref" text;--> statement-breakpoint
ALTER TABLE "verdicts" ADD CONSTRAINT "verdicts_run" FOREIGN KEY ("org_id","run_id") REFERENCES "public"."runs"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE POLICY "tenant" ON "verdicts" AS PERMISSIVE FOR ALL TO "chainloop_app" USING ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid)) WITH CHECK ("org_id" = (select nullif(current_setting('app.organization', true), '')::uuid));