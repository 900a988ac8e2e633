ALTER TABLE "runs" ADD COLUMN IF NOT EXISTS "head_commit" text;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "contract_revisions_by_content" ON "contract_revisions" USING btree ("org_id","content_digest");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "runs_newest_of_kind" ON "runs" USING btree ("org_id","state",(case when "runner_type" is null then '' else "runner_type" end),"created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "runs_newest_of_workflow_kind" ON "runs" USING btree ("workflow_id","state",(case when "runner_type" is null then '' else "runner_type" end),"created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "runs_newest_of_revision" ON "runs" USING btree ("contract_revision_id","workflow_id","state",(case when "runner_type" is null then '' else "runner_type" end),"created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "runs_newest_of_commit" ON "runs" USING btree ("org_id","head_commit","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST) WHERE head_commit is not null;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "runs_by_bundle" ON "runs" USING btree ("org_id","bundle_digest") WHERE bundle_digest is not null;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "verdicts_by_vsa" ON "verdicts" USING btree ("org_id","vsa_digest");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "verdicts_by_provenance" ON "verdicts" USING btree ("org_id","provenance_digest") WHERE provenance_digest is not null;--> statement-breakpoint
DROP INDEX IF EXISTS "runs_newest_of_state";--> statement-breakpoint
DROP INDEX IF EXISTS "runs_newest_of_workflow_state";
