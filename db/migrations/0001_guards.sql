-- What the schema language cannot say. The roles are made before any migration (db/migrate.ts).

-- Without FORCE the owner of the tables would not be bound by their policies.
ALTER TABLE organizations FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE contracts FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE contract_revisions FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE projects FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE workflows FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE runner_counts FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE runs FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE run_materials FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE cas_backends FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE evidence FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE tokens FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE public_keys FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE settings FORCE ROW LEVEL SECURITY;--> statement-breakpoint

-- What each role may do at all, whichever rows it sees.
GRANT USAGE ON SCHEMA public TO chainloop_app, chainloop_system;--> statement-breakpoint
GRANT SELECT ON organizations TO chainloop_app;--> statement-breakpoint
GRANT SELECT, INSERT ON contract_revisions, projects, run_materials TO chainloop_app;--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE ON contracts, workflows, runner_counts, runs, evidence, tokens TO chainloop_app;--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON cas_backends, public_keys TO chainloop_app;--> statement-breakpoint
GRANT SELECT ON projects, runner_counts TO chainloop_system;--> statement-breakpoint
GRANT SELECT, INSERT ON organizations, cas_backends, settings TO chainloop_system;--> statement-breakpoint
GRANT SELECT, UPDATE ON workflows, runs TO chainloop_system;--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE ON tokens TO chainloop_system;--> statement-breakpoint

-- A contract revision is what runs were judged by, the materials of a run are what was signed: neither changes, for nobody.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is immutable', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_TABLE_NAME || '_immutable';
END $$;--> statement-breakpoint
CREATE TRIGGER contract_revisions_immutable BEFORE UPDATE OR DELETE ON contract_revisions FOR EACH ROW EXECUTE FUNCTION refuse_change();--> statement-breakpoint
CREATE TRIGGER run_materials_immutable BEFORE UPDATE OR DELETE ON run_materials FOR EACH ROW EXECUTE FUNCTION refuse_change();--> statement-breakpoint

-- initialized -> success | failed | cancelled | expired, once. All else about a run is fixed when it is opened.
CREATE FUNCTION guard_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'initialized' THEN
      RAISE EXCEPTION 'a run begins as initialized, not %', NEW.state USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'runs_arrows';
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.state <> 'initialized' OR NEW.state = 'initialized' THEN
    RAISE EXCEPTION 'a run does not go from % to %', OLD.state, NEW.state USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'runs_arrows';
  END IF;
  IF (NEW.id, NEW.org_id, NEW.workflow_id, NEW.contract_revision_id, NEW.idempotency_key, NEW.created_at, NEW.expires_at)
    IS DISTINCT FROM (OLD.id, OLD.org_id, OLD.workflow_id, OLD.contract_revision_id, OLD.idempotency_key, OLD.created_at, OLD.expires_at) THEN
    RAISE EXCEPTION 'a run does not change what it is' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'runs_arrows';
  END IF;
  RETURN NEW;
END $$;--> statement-breakpoint
CREATE TRIGGER runs_arrows BEFORE INSERT OR UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION guard_run();
