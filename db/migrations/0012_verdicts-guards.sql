-- What the schema language cannot say of verdicts.

ALTER TABLE verdicts FORCE ROW LEVEL SECURITY;--> statement-breakpoint

-- An update is of what storage has lost, and was signed again.
GRANT SELECT, INSERT, UPDATE ON verdicts TO chainloop_app;--> statement-breakpoint

-- Whatever a server believes: a run that failed, was cancelled, expired or is open has not passed.
CREATE FUNCTION guard_verdict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.run_id <> OLD.run_id
    OR NOT EXISTS (SELECT FROM runs WHERE org_id = NEW.org_id AND id = NEW.run_id AND state = 'success') THEN
    RAISE EXCEPTION 'a verdict is of one run that succeeded' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'verdicts_of_success';
  END IF;
  RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER verdicts_of_success AFTER INSERT OR UPDATE ON verdicts FOR EACH ROW EXECUTE FUNCTION guard_verdict();
