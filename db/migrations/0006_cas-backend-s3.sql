ALTER TABLE "cas_backends" DROP CONSTRAINT "cas_backends_provider";--> statement-breakpoint
ALTER TABLE "cas_backends" ADD COLUMN "region" text;--> statement-breakpoint
ALTER TABLE "cas_backends" ADD COLUMN "virtual_host" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "cas_backends" ADD COLUMN "is_fallback" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "cas_backends" ADD COLUMN "check_due_at" timestamp (6) with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
CREATE UNIQUE INDEX IF NOT EXISTS "cas_backends_one_fallback" ON "cas_backends" USING btree ("org_id") WHERE is_fallback;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "cas_backends_due" ON "cas_backends" USING btree ("check_due_at");--> statement-breakpoint
ALTER TABLE "cas_backends" ADD CONSTRAINT "cas_backends_region" CHECK (("cas_backends"."provider" = 's3') = ("cas_backends"."region" is not null));--> statement-breakpoint
ALTER TABLE "cas_backends" ADD CONSTRAINT "cas_backends_fallback" CHECK (not ("cas_backends"."is_default" and "cas_backends"."is_fallback"));--> statement-breakpoint
ALTER TABLE "cas_backends" ADD CONSTRAINT "cas_backends_provider" CHECK ("cas_backends"."provider" in ('layout', 'oci', 's3'));