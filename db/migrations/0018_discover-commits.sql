-- Runs of federated jobs know their commit already. The trigger that lets no run change is for servers; the rows are of all organizations.
ALTER TABLE runs NO FORCE ROW LEVEL SECURITY, DISABLE TRIGGER USER;--> statement-breakpoint
UPDATE runs SET head_commit = claims ->> 'commit' WHERE claims IS NOT NULL AND head_commit IS NULL;--> statement-breakpoint
ALTER TABLE runs FORCE ROW LEVEL SECURITY, ENABLE TRIGGER USER;
