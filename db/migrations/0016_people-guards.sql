-- What the schema language cannot say of people.

ALTER TABLE users FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE members FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE invitations FORCE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE sessions FORCE ROW LEVEL SECURITY;--> statement-breakpoint

-- An organization says who is in it, and whom it invites; who somebody is, and is logged in, only the control plane says.
GRANT SELECT ON users TO chainloop_app;--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE (role), DELETE ON members TO chainloop_app;--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE (role, hash, expires_at, created_at), DELETE ON invitations TO chainloop_app;--> statement-breakpoint
GRANT SELECT ON members, invitations TO chainloop_system;--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE (name, email, last_login_at) ON users TO chainloop_system;--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE (last_used_at, revoked_at), DELETE ON sessions TO chainloop_system;--> statement-breakpoint

-- The audit log of people: as audit_change does it. Logins are of no organization. A member is named by the user's id, which the log has as the
-- actor of what that person does.
CREATE FUNCTION audit_person() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  kind text := split_part(TG_ARGV[0], '.', 1);
  touched jsonb := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
BEGIN
  PERFORM audit_append(
    coalesce(touched->>'org_id', '00000000-0000-0000-0000-000000000000')::uuid, TG_ARGV[0], kind,
    CASE kind WHEN 'invitation' THEN touched->>'email' WHEN 'person' THEN touched->>'id' ELSE touched->>'user_id' END,
    jsonb_strip_nulls(jsonb_build_object('id', touched->'id', 'role', CASE TG_ARGV[0] WHEN 'member.set-role'
      THEN jsonb_build_object('from', to_jsonb(OLD)->'role', 'to', touched->'role') ELSE touched->'role' END,
      'issuer', touched->'issuer', 'subject', touched->'subject', 'expiresAt', touched->'expires_at')));
  RETURN NULL;
END $$;--> statement-breakpoint
DO $$
DECLARE
  t record;
BEGIN
  FOR t IN SELECT * FROM (VALUES
    ('members', 'insert', 'true', 'member.join'),
    ('members', 'update of role', 'old.role is distinct from new.role', 'member.set-role'),
    ('members', 'delete', 'true', 'member.remove'),
    ('invitations', 'insert', 'true', 'invitation.create'),
    ('invitations', 'update of hash', 'true', 'invitation.renew'),
    ('invitations', 'delete', 'true', 'invitation.end'),
    ('users', 'insert', 'true', 'person.admit'),
    ('sessions', 'insert', 'true', 'session.begin'),
    ('sessions', 'update of revoked_at', 'old.revoked_at is distinct from new.revoked_at', 'session.end')
  ) AS v(tbl, event, cond, action) LOOP
    EXECUTE format('CREATE CONSTRAINT TRIGGER %I AFTER %s ON %I DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (%s) EXECUTE FUNCTION audit_person(%L)',
      'audit_' || translate(t.action, '.-', '__') || '_' || split_part(t.event, ' ', 1), t.event, t.tbl, t.cond, t.action);
  END LOOP;
END $$;
