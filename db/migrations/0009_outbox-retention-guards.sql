-- What the schema language cannot say of the outbox and of retention.

ALTER TABLE outbox FORCE ROW LEVEL SECURITY;--> statement-breakpoint

-- A request adds effects and tries failed ones again; only the servers' own loop ends them.
GRANT SELECT, INSERT, UPDATE ON outbox TO chainloop_app;--> statement-breakpoint
GRANT SELECT, UPDATE, DELETE ON outbox TO chainloop_system;--> statement-breakpoint
GRANT UPDATE (unpushed_days, attestation_days) ON organizations TO chainloop_app;--> statement-breakpoint
GRANT UPDATE (collected_at) ON organizations TO chainloop_system;--> statement-breakpoint

-- As before, and: any run may be put on hold and be released, and one that succeeded may lose its attestation to retention, once,
-- unless it is on hold.
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
  IF (NEW.held_at, NEW.hold_reason, NEW.removed_at) IS DISTINCT FROM (OLD.held_at, OLD.hold_reason, OLD.removed_at) THEN
    same := NEW;
    same.held_at := OLD.held_at;
    same.hold_reason := OLD.hold_reason;
    same.removed_at := OLD.removed_at;
    IF ROW(same.*) IS DISTINCT FROM ROW(OLD.*) OR NEW.removed_at IS DISTINCT FROM OLD.removed_at
      AND (OLD.removed_at IS NOT NULL OR OLD.held_at IS NOT NULL OR NEW.held_at IS NOT NULL) THEN
      RAISE EXCEPTION 'a hold or a removal changes nothing else of a run' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'runs_arrows';
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
