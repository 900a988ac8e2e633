-- IF NOT EXISTS: on a database that is in use they were built before this, beside its writers (db/prebuild.ts). The old ones go last.
ALTER TABLE "runs" ALTER COLUMN "id" SET DEFAULT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1), 'hex')::uuid;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "organizations_newest" ON "organizations" USING btree ("created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "projects_newest" ON "projects" USING btree ("org_id","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "run_materials_uses" ON "run_materials" USING btree ("org_id","digest","run_id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "runs_newest_of_state" ON "runs" USING btree ("org_id","state","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "runs_newest_of_workflow_state" ON "runs" USING btree ("workflow_id","state","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "tokens_newest_of_kind" ON "tokens" USING btree ("org_id","kind","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "workflows_shown" ON "workflows" USING btree ("org_id","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST) WHERE deleted_at is null;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "workflows_shown_of_project" ON "workflows" USING btree ("project_id","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST) WHERE deleted_at is null;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "workflows_of_project" ON "workflows" USING btree ("project_id","name");--> statement-breakpoint
DROP INDEX IF EXISTS "run_materials_by_digest";--> statement-breakpoint
DROP INDEX IF EXISTS "tokens_newest";--> statement-breakpoint
DROP INDEX IF EXISTS "workflows_newest";
