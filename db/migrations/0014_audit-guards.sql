-- The audit log: who writes it, and that nobody changes it. docs/audit.md.

ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE audit_heads FORCE ROW LEVEL SECURITY;--> statement-breakpoint

-- Servers read. What is written is written by audit_append, as the owner of the tables, who is bound by policies too.
GRANT SELECT ON audit_log, audit_heads TO chainloop_app, chainloop_system;--> statement-breakpoint
CREATE POLICY writer ON audit_log FOR INSERT TO current_user WITH CHECK (true);--> statement-breakpoint
CREATE POLICY writer ON audit_heads TO current_user USING (true) WITH CHECK (true);--> statement-breakpoint

CREATE TRIGGER audit_log_immutable BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_change();--> statement-breakpoint
CREATE TRIGGER audit_log_kept BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();--> statement-breakpoint
CREATE TRIGGER audit_heads_kept BEFORE DELETE ON audit_heads FOR EACH ROW EXECUTE FUNCTION refuse_change();--> statement-breakpoint
CREATE TRIGGER audit_heads_all_kept BEFORE TRUNCATE ON audit_heads FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();--> statement-breakpoint

-- What is hashed, version 1: a row as the text of jsonb, which is one for each value: keys by length, then by bytes.
CREATE FUNCTION audit_entry(chain uuid, sequence bigint, at timestamptz, actor jsonb, action text, kind text, name text, details jsonb, previous bytea)
RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT jsonb_build_object('version', 1, 'organization', chain, 'sequence', sequence, 'at', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'actor', actor, 'action', action, 'resource', jsonb_build_object('kind', kind, 'name', name), 'details', details, 'previous', encode(previous, 'hex'))::text
$$;--> statement-breakpoint

-- Appends one row to a chain. The row of its head is locked until the transaction ends: so this is called at its end.
CREATE FUNCTION audit_append(chain uuid, done text, kind text, name text, what jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  actor jsonb := nullif(current_setting('app.actor', true), '')::jsonb;
  now timestamptz := clock_timestamp();
BEGIN
  IF current_setting('role') = 'chainloop_app' AND chain::text IS DISTINCT FROM current_setting('app.organization', true) THEN
    RAISE EXCEPTION 'a request writes the audit log of its own organization' USING ERRCODE = 'insufficient_privilege';
  END IF;
  -- Who says nothing is a server of the version before, or somebody who went past the servers.
  actor := coalesce(actor, CASE WHEN current_setting('role') IN ('chainloop_app', 'chainloop_system')
    THEN '{"kind": "system", "name": "unknown"}' ELSE jsonb_build_object('kind', 'database', 'name', session_user) END);
  actor := jsonb_build_object('kind', actor->'kind', 'id', actor->'id', 'name', left(actor->>'name', 256));
  name := left(name, 256);
  IF octet_length(what::text) > 4096 THEN
    what := jsonb_build_object('leftOut', jsonb_build_object('sizeBytes', octet_length(what::text), 'digest', 'sha256:' || encode(sha256(convert_to(what::text, 'UTF8')), 'hex')));
  END IF;
  -- The lock is not held until the disk has it: who said that it will ask for that before it answers (db/postgres.ts) commits at once.
  IF current_setting('app.flushes', true) = 'yes' THEN
    PERFORM set_config('synchronous_commit', 'off', true), set_config('app.unflushed', 'yes', false);
  END IF;
  LOOP
    -- The head moves before the row is made, so that the text is of what was there when the lock was had.
    WITH head AS (
      UPDATE audit_heads h SET sequence = h.sequence + 1, at = greatest(h.at, now), previous = h.hash,
        hash = sha256(convert_to(audit_entry(chain, h.sequence + 1, greatest(h.at, now), actor, done, kind, name, what, h.hash), 'UTF8'))
      WHERE h.org_id = chain RETURNING h.*
    )
    INSERT INTO audit_log (org_id, sequence, at, actor_kind, actor_id, actor_name, action, resource_kind, resource_name, details, previous, hash)
    SELECT chain, sequence, at, actor->>'kind', actor->>'id', actor->>'name', done, kind, name, what, previous, hash FROM head;
    EXIT WHEN FOUND;
    INSERT INTO audit_heads (org_id, sequence, at, previous, hash)
      VALUES (chain, 0, now, decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
  END LOOP;
END $$;--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION audit_append(uuid, text, text, text, jsonb) FROM PUBLIC;--> statement-breakpoint
GRANT EXECUTE ON FUNCTION audit_append(uuid, text, text, text, jsonb) TO chainloop_app, chainloop_system;--> statement-breakpoint

-- A column as details show it: references by name, digests as everywhere.
CREATE FUNCTION audit_value(col text, value jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
  plain text := value #>> '{}';
  named text;
BEGIN
  CASE col
    WHEN 'workflow_id' THEN SELECT p.name || '/' || w.name INTO named FROM workflows w JOIN projects p ON p.id = w.project_id WHERE w.id = plain::uuid;
    WHEN 'contract_id' THEN SELECT c.name INTO named FROM contracts c WHERE c.id = plain::uuid;
    WHEN 'claims' THEN RETURN (SELECT jsonb_object_agg(c.key, c.value) FROM jsonb_each(value) c
      WHERE c.key IN ('repository', 'repositoryId', 'ref', 'commit', 'actor', 'event', 'workflowRef', 'runId', 'runAttempt'));
    WHEN 'cas_backend_id' THEN SELECT b.name INTO named FROM cas_backends b WHERE b.id = plain::uuid;
    ELSE IF jsonb_typeof(value) = 'string' AND plain ~ '^\\x[0-9a-f]{64}$' THEN named := 'sha256:' || substr(plain, 3); ELSE RETURN value; END IF;
  END CASE;
  RETURN to_jsonb(named);
END $$;--> statement-breakpoint

-- Writes what a statement did to a row: the action, and the columns to show, of an update those that changed.
CREATE FUNCTION audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  action text := TG_ARGV[0];
  kind text := split_part(action, '.', 1);
  after jsonb;
  before jsonb;
  chain uuid;
  name text;
  what jsonb;
BEGIN
  after := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
  before := CASE TG_OP WHEN 'UPDATE' THEN to_jsonb(OLD) END;
  IF TG_TABLE_NAME = 'tokens' THEN
    kind := CASE after->>'kind' WHEN 'service-account' THEN 'service-account' ELSE after->>'kind' || '-token' END;
  END IF;
  action := kind || '.' || split_part(action, '.', 2);
  chain := CASE TG_TABLE_NAME WHEN 'organizations' THEN after->>'id' ELSE coalesce(after->>'org_id', '00000000-0000-0000-0000-000000000000') END;
  name := CASE kind
    WHEN 'workflow' THEN audit_value('workflow_id', after->'id') #>> '{}'
    WHEN 'contract' THEN audit_value('contract_id', coalesce(after->'contract_id', after->'id')) #>> '{}'
    WHEN 'evidence' THEN audit_value('digest', after->'digest') #>> '{}'
    WHEN 'run' THEN after->>'run_id'
    WHEN 'binding' THEN coalesce(after->>'binding_id', after->>'id')
    WHEN 'effect' THEN after->>'id'
    WHEN 'authority' THEN after->>'key'
    WHEN 'setting' THEN after->>'key'
    ELSE after->>'name' END;
  SELECT coalesce(jsonb_object_agg(
      -- workflow_id is shown as workflow, repository_id as repositoryId.
      CASE col WHEN 'cas_backend_id' THEN 'casBackend' WHEN 'workflow_id' THEN 'workflow' WHEN 'contract_id' THEN 'contract'
        ELSE lower(left(col, 1)) || substr(replace(initcap(replace(col, '_', ' ')), ' ', ''), 2) END,
      CASE WHEN before->>col IS NULL OR before->col IS NOT DISTINCT FROM after->col THEN audit_value(col, after->col)
        ELSE jsonb_build_object('from', audit_value(col, before->col), 'to', audit_value(col, after->col)) END), '{}') INTO what
    FROM unnest(string_to_array(TG_ARGV[1], ' ')) col WHERE after->>col IS NOT NULL OR before->>col IS NOT NULL;
  PERFORM audit_append(chain, action, kind, name, what);
  IF TG_TABLE_NAME = 'organizations' AND TG_OP = 'INSERT' THEN
    PERFORM audit_append('00000000-0000-0000-0000-000000000000', action, kind, name, what);
  END IF;
  RETURN NULL;
END $$;--> statement-breakpoint
-- The same of a run, which is what happens most: its columns by hand.
CREATE FUNCTION audit_run() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  action text := TG_ARGV[0];
  what jsonb := CASE action
    WHEN 'run.init' THEN jsonb_build_object('runnerType', NEW.runner_type, 'runnerUrl', NEW.runner_url, 'identitySan', NEW.identity_san, 'ciAttempt', NEW.ci_attempt)
    WHEN 'run.attempt' THEN jsonb_build_object('ciAttempt', NEW.ci_attempt)
    WHEN 'run.hold' THEN jsonb_build_object('holdReason', NEW.hold_reason)
    WHEN 'run.remove' THEN jsonb_build_object('bundleDigest', 'sha256:' || encode(NEW.bundle_digest, 'hex'))
    WHEN 'run.end' THEN jsonb_build_object('bundleDigest', 'sha256:' || encode(NEW.bundle_digest, 'hex'), 'statementDigest', 'sha256:' || encode(NEW.statement_digest, 'hex'),
      'signer', NEW.signer, 'reason', NEW.reason)
    ELSE '{}' END;
BEGIN
  IF action = 'run.end' THEN
    action := 'run.' || CASE NEW.state WHEN 'success' THEN 'push' WHEN 'failed' THEN 'fail' WHEN 'cancelled' THEN 'cancel' ELSE 'expire' END;
  END IF;
  -- A statement of its own, for the system role, which ends runs and reads no contract, is refused it even where it is not reached.
  IF action = 'run.init' THEN
    what := what || (SELECT jsonb_build_object('contract', c.name || '@' || r.revision)
      FROM contract_revisions r JOIN contracts c ON c.id = r.contract_id WHERE r.id = NEW.contract_revision_id);
  END IF;
  what := what || (SELECT jsonb_build_object('workflow', p.name || '/' || w.name) FROM workflows w JOIN projects p ON p.id = w.project_id WHERE w.id = NEW.workflow_id);
  PERFORM audit_append(NEW.org_id, action, 'run', NEW.id::text, jsonb_strip_nulls(what));
  RETURN NULL;
END $$;--> statement-breakpoint

-- What is written down, as (table, when, if, action, columns to show). db/audit.test.ts fails for a table, or a column that servers may
-- change, which is neither here nor among those that say why not.
DO $$
DECLARE
  t record;
BEGIN
  FOR t IN SELECT * FROM (VALUES
    ('organizations', 'insert', 'true', 'organization.create', ''),
    ('organizations', 'update of unpushed_days, attestation_days', '(old.unpushed_days, old.attestation_days) is distinct from (new.unpushed_days, new.attestation_days)', 'organization.retain', 'unpushed_days attestation_days'),
    ('projects', 'insert', 'true', 'project.create', ''),
    ('contract_revisions', 'insert', 'new.revision = 1', 'contract.create', 'revision format content_digest'),
    ('contract_revisions', 'insert', 'new.revision > 1', 'contract.update', 'revision format content_digest'),
    ('contracts', 'update of deleted_at', 'old.deleted_at is distinct from new.deleted_at', 'contract.remove', ''),
    ('workflows', 'insert', 'true', 'workflow.create', 'team contract_id'),
    ('workflows', 'update of name, project_id, team, contract_id', '(old.name, old.project_id, old.team, old.contract_id) is distinct from (new.name, new.project_id, new.team, new.contract_id)', 'workflow.update', 'name team contract_id'),
    ('workflows', 'update of deleted_at', 'old.deleted_at is distinct from new.deleted_at', 'workflow.remove', ''),
    ('workflows', 'update of held_at', 'new.held_at is not null', 'workflow.hold', 'hold_reason'),
    ('workflows', 'update of held_at', 'old.held_at is not null and new.held_at is null', 'workflow.release', 'hold_reason'),
    ('runs', 'insert', 'true', 'run.init', ''),
    ('runs', 'update of start', 'old.start is distinct from new.start', 'run.begin', ''),
    ('runs', 'update of ci_attempt', 'old.ci_attempt is distinct from new.ci_attempt', 'run.attempt', ''),
    ('runs', 'update of state', 'old.state is distinct from new.state', 'run.end', ''),
    ('runs', 'update of held_at', 'new.held_at is not null', 'run.hold', ''),
    ('runs', 'update of held_at', 'old.held_at is not null and new.held_at is null', 'run.release', ''),
    ('runs', 'update of removed_at', 'old.removed_at is distinct from new.removed_at', 'run.remove', ''),
    ('verdicts', 'insert', 'true', 'run.verdict', 'level vsa_digest provenance_digest'),
    ('verdicts', 'update of level, reasons, vsa_digest, vsa_size_bytes, provenance_digest, provenance_size_bytes', 'true', 'run.verdict', 'level vsa_digest provenance_digest'),
    ('run_collected', 'insert', 'true', 'run.collect', 'name type digest file_name size_bytes uploaded job'),
    ('cas_backends', 'insert', 'true', 'cas-backend.add', 'provider location region insecure is_default is_fallback is_mirror'),
    ('cas_backends', 'update of is_default, is_fallback, is_mirror', '(old.is_default, old.is_fallback, old.is_mirror) is distinct from (new.is_default, new.is_fallback, new.is_mirror)', 'cas-backend.assign', 'is_default is_fallback is_mirror'),
    ('cas_backends', 'update of credentials, name, provider, location, region, virtual_host, insecure', '(old.credentials, old.name, old.provider, old.location, old.region, old.virtual_host, old.insecure) is distinct from (new.credentials, new.name, new.provider, new.location, new.region, new.virtual_host, new.insecure)', 'cas-backend.update', 'provider location region insecure'),
    ('cas_backends', 'update of status', 'old.status is distinct from new.status', 'cas-backend.check', 'status problem'),
    ('cas_backends', 'delete', 'true', 'cas-backend.remove', 'provider location'),
    ('evidence', 'insert', 'true', 'evidence.upload', 'size_bytes media_type file_name cas_backend_id manifest_digest'),
    ('evidence', 'update of manifest_digest', 'new.manifest_digest is not null and old.manifest_digest is distinct from new.manifest_digest', 'evidence.describe', 'media_type file_name manifest_digest'),
    ('evidence', 'update of cas_backend_id', 'old.cas_backend_id is distinct from new.cas_backend_id', 'evidence.move', 'cas_backend_id'),
    ('evidence', 'update of pinned', 'old.pinned is distinct from new.pinned', 'evidence.pin', 'pinned'),
    ('evidence', 'update of removed_at', 'old.removed_at is null and new.removed_at is not null', 'evidence.remove', 'size_bytes file_name'),
    ('evidence', 'update of removed_at', 'old.removed_at is not null and new.removed_at is null', 'evidence.restore', 'size_bytes file_name'),
    ('tokens', 'insert', 'true', 'token.create', 'id role workflow_id expires_at'),
    ('tokens', 'update of revoked_at', 'old.revoked_at is distinct from new.revoked_at', 'token.revoke', 'id workflow_id'),
    ('public_keys', 'insert', 'true', 'key.trust', 'type hint'),
    ('tokens', 'update of name, kind, hash, role, workflow_id, expires_at', '(old.name, old.kind, old.hash, old.role, old.workflow_id, old.expires_at) is distinct from (new.name, new.kind, new.hash, new.role, new.workflow_id, new.expires_at)', 'token.update', 'id name role workflow_id expires_at'),
    ('public_keys', 'update of name, type, hint, pem', 'true', 'key.update', 'name type hint'),
    ('public_keys', 'delete', 'true', 'key.remove', 'type hint'),
    ('trusted_identities', 'insert', 'true', 'identity.trust', 'issuer san match'),
    ('trusted_identities', 'delete', 'true', 'identity.remove', 'issuer san match'),
    ('bindings', 'insert', 'true', 'binding.create', 'workflow_id issuer repository repository_id owner_id refs environment events workflow_ref job_workflow_ref runner_environment pending_until'),
    ('bindings', 'update of repository, repository_id, owner_id', '(old.repository, old.repository_id, old.owner_id) is distinct from (new.repository, new.repository_id, new.owner_id)', 'binding.fix', 'workflow_id repository repository_id owner_id'),
    ('bindings', 'update of removed_at', 'old.removed_at is distinct from new.removed_at', 'binding.remove', 'workflow_id issuer repository'),
    ('run_credentials', 'insert', 'true', 'binding.exchange', 'id claims expires_at'),
    ('outbox', 'update of state', 'old.state = ''pending'' and new.state = ''failed''', 'effect.fail', 'kind run_id cas_backend_id attempts error_code error'),
    ('outbox', 'update of state', 'new.state = ''pending'' and current_setting(''role'') <> ''chainloop_system''', 'effect.retry', 'kind run_id cas_backend_id'),
    ('settings', 'insert', 'new.key like ''ca/%''', 'authority.rotate', ''),
    ('settings', 'insert', 'new.key not like ''ca/%''', 'setting.create', '')
  ) AS v(tbl, event, cond, action, cols) LOOP
    EXECUTE format('CREATE CONSTRAINT TRIGGER %I AFTER %s ON %I DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (%s) EXECUTE FUNCTION %I(%L, %L)',
      'audit_' || replace(t.action, '.', '_') || '_' || split_part(t.event, ' ', 1), t.event, t.tbl, t.cond, CASE t.tbl WHEN 'runs' THEN 'audit_run' ELSE 'audit_change' END, t.action, t.cols);
  END LOOP;
END $$;--> statement-breakpoint

-- What was done before is not known: the chains of those who are here begin by saying so. The owner of the tables sees no organization.
SET LOCAL ROLE chainloop_system;--> statement-breakpoint
SELECT set_config('app.actor', '{"kind":"system","name":"migration"}', true);--> statement-breakpoint
DO $$
DECLARE
  chain uuid;
BEGIN
  FOR chain IN SELECT id FROM organizations UNION ALL SELECT '00000000-0000-0000-0000-000000000000' WHERE EXISTS (SELECT FROM tokens) LOOP
    PERFORM audit_append(chain, 'audit.begin', 'audit', 'log', '{}');
  END LOOP;
END $$;--> statement-breakpoint
SELECT set_config('app.actor', '', true);--> statement-breakpoint
RESET ROLE;
