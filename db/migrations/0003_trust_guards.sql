-- What the schema language cannot say of federation and of runs with several jobs.

ALTER TABLE bindings FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE run_credentials FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE used_tokens FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE trusted_identities FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE run_collected FORCE ROW LEVEL SECURITY;--> statement-breakpoint

-- An organization says whom it lets in, and takes it back; only an exchange fixes ids and gives credentials.
GRANT SELECT, INSERT ON bindings, run_collected TO chainloop_app;--> statement-breakpoint
GRANT UPDATE (removed_at) ON bindings TO chainloop_app;--> statement-breakpoint
GRANT SELECT ON run_credentials TO chainloop_app;--> statement-breakpoint
GRANT SELECT, INSERT, DELETE ON trusted_identities TO chainloop_app;--> statement-breakpoint
GRANT SELECT ON bindings TO chainloop_system;--> statement-breakpoint
GRANT UPDATE (repository, repository_id, owner_id, fixed_at, last_used_at) ON bindings TO chainloop_system;--> statement-breakpoint
GRANT SELECT, INSERT, DELETE ON run_credentials, used_tokens TO chainloop_system;--> statement-breakpoint

-- The ids of a binding are fixed once: a repository that takes an old name is another one.
CREATE FUNCTION guard_binding() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.repository_id IS NOT NULL AND (NEW.repository_id, NEW.owner_id) IS DISTINCT FROM (OLD.repository_id, OLD.owner_id)
    OR OLD.removed_at IS NOT NULL AND NEW.removed_at IS DISTINCT FROM OLD.removed_at THEN
    RAISE EXCEPTION 'a binding does not change whom it means' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'bindings_fixed';
  END IF;
  RETURN NEW;
END $$;--> statement-breakpoint
CREATE TRIGGER bindings_fixed BEFORE UPDATE ON bindings FOR EACH ROW EXECUTE FUNCTION guard_binding();--> statement-breakpoint

-- What a job brought stays as it was brought.
CREATE TRIGGER run_collected_immutable BEFORE UPDATE OR DELETE ON run_collected FOR EACH ROW EXECUTE FUNCTION refuse_change();--> statement-breakpoint

-- As before, and: an open run may be told once what init fixed, and its attempt only grows. Whom it is of never changes.
CREATE OR REPLACE FUNCTION guard_run() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  same runs;
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'initialized' THEN
      RAISE EXCEPTION 'a run begins as initialized, not %', NEW.state USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'runs_arrows';
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.state = 'initialized' AND NEW.state = 'initialized' AND (NEW.start, NEW.ci_attempt) IS DISTINCT FROM (OLD.start, OLD.ci_attempt) THEN
    same := NEW;
    same.start := OLD.start;
    same.ci_attempt := OLD.ci_attempt;
    IF ROW(same.*) IS DISTINCT FROM ROW(OLD.*) OR NEW.ci_attempt < OLD.ci_attempt
      OR (OLD.start IS NOT NULL AND NEW.start IS DISTINCT FROM OLD.start) THEN
      RAISE EXCEPTION 'an open run does not change what it is' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'runs_arrows';
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.state <> 'initialized' OR NEW.state = 'initialized' THEN
    RAISE EXCEPTION 'a run does not go from % to %', OLD.state, NEW.state USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'runs_arrows';
  END IF;
  IF (NEW.id, NEW.org_id, NEW.workflow_id, NEW.contract_revision_id, NEW.idempotency_key, NEW.created_at, NEW.expires_at,
      NEW.claims, NEW.identity_san, NEW.identity_issuer, NEW.natural_key, NEW.runner_authenticated)
    IS DISTINCT FROM (OLD.id, OLD.org_id, OLD.workflow_id, OLD.contract_revision_id, OLD.idempotency_key, OLD.created_at, OLD.expires_at,
      OLD.claims, OLD.identity_san, OLD.identity_issuer, OLD.natural_key, OLD.runner_authenticated) THEN
    RAISE EXCEPTION 'a run does not change what it is' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'runs_arrows';
  END IF;
  RETURN NEW;
END $$;
