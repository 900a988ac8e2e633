import { randomUUID } from 'node:crypto';
import { digestOf } from '../../core/digest.ts';
import { createBinding } from '../../db/bindings.ts';
import { createCasBackend, describeCasBackend } from '../../db/cas-backends.ts';
import type { Database } from '../../db/client.ts';
import { collect } from '../../db/collected.ts';
import { recordEvidence } from '../../db/evidence.ts';
import { newWorkflow, openedRun, someAttested, someClaims } from '../../db/fixtures.ts';
import { createIdentity } from '../../db/identities.ts';
import { createKey } from '../../db/keys.ts';
import { acceptInvitation, createInvitation, listMembers } from '../../db/members.ts';
import { effectsOfRun } from '../../db/outbox.ts';
import { issueRunCredential } from '../../db/run-credentials.ts';
import { pushRun } from '../../db/run-states.ts';
import { createSession, keepUser } from '../../db/sessions.ts';
import { createToken } from '../../db/tokens.ts';
import { recordVerdict } from '../../db/verdicts.ts';
import { newOrganization } from '../databases.ts';

/** An organization with a row in every table. */
export async function furnished(database: Database) {
  const { id, name, scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope);
  const run = await openedRun(scope, workflow.id);
  const first = await describeCasBackend(scope, 'default');
  const effects = [{ kind: 'link', step: 1, casBackendId: first.id }];
  await pushRun(scope, run.id, someAttested('first', undefined, effects), new Date());
  const [effect] = await effectsOfRun(scope, run.id);
  const reasons = [`why ${name} is on level 1`];
  const signed = { vsaDigest: digestOf(`vsa of ${name}`), vsaSizeBytes: 1, provenanceDigest: null, provenanceSizeBytes: null };
  await recordVerdict(scope, { runId: run.id, level: 1, reasons, ...signed }, undefined);
  const open = await openedRun(scope, workflow.id);
  const tokenName = `ci-${randomUUID()}`;
  const token = await createToken(scope, { name: tokenName, hash: digestOf(randomUUID()), expiresAt: null, workflowId: workflow.id });
  const keyName = `release-${randomUUID()}`;
  await createKey(scope, { name: keyName, hint: `hint of ${name}`, type: 'P-256', pem: `pem of ${name}` });
  const backendName = `ghcr-${randomUUID()}`;
  await createCasBackend(
    scope,
    {
      name: backendName,
      provider: 'oci',
      location: `ghcr.io/${name}`,
      insecure: false,
      credentials: Buffer.from('x'),
      isDefault: true,
    },
    new Date(),
  );
  const backend = await describeCasBackend(scope, 'default');
  const digest = digestOf(`evidence of ${name}`);
  await recordEvidence(scope, { digest, casBackendId: backend.id, sizeBytes: 1 });
  const binding = await createBinding(scope, {
    workflowId: workflow.id,
    issuer: 'https://gitlab.com',
    repository: 'acme/app',
    ids: { repositoryId: '1', ownerId: '2' },
    refs: ['refs/heads/main'],
    events: ['push'],
    pendingUntil: new Date(),
  });
  const now = new Date();
  const soon = new Date(now.getTime() + 60_000);
  const once = { use: digestOf(randomUUID()), usedUntil: soon, hash: digestOf(randomUUID()), expiresAt: soon, now };
  await issueRunCredential(database.system, { ...once, binding, claims: someClaims, naturalKey: `key of ${name}` });
  const identityName = `identity-${randomUUID()}`;
  await createIdentity(scope, { name: identityName, issuer: 'i', san: `san of ${name}`, match: 'exact', trustedRoot: null });
  const person = { issuer: 'https://id.example.com', subject: `subject in ${name}`, name: `person of ${name}`, email: `member@${name}` };
  const user = await keepUser(database.system, person);
  const [taken, hash] = [digestOf(randomUUID()), digestOf(randomUUID())];
  await createInvitation(scope, { email: `taken@${name}`, role: 'owner', hash: taken, expiresAt: soon });
  await acceptInvitation(scope, { hash: taken, userId: user.id, now });
  const [member] = (await listMembers(scope, { limit: 1 })).items;
  const invitation = await createInvitation(scope, { email: `guest@${name}`, role: 'viewer', hash, expiresAt: soon });
  const use = digestOf(randomUUID());
  await createSession(database.system, { userId: user.id, hash: digestOf(randomUUID()), expiresAt: soon, use, usedUntil: soon }, now);
  const value = `brought for ${name}`;
  await collect(
    scope,
    open.id,
    { material: { name: 'commit', type: 'STRING', value, uploaded: false, annotations: {} }, job: 'build' },
    now,
  );
  return {
    ...{ id, name, scope, digest, backendName, tokenName, keyName, identityName },
    ...{ workflow, workflowId: workflow.id, contractId: workflow.contractId, revisionId: run.contractRevisionId },
    ...{ runId: run.id, openId: open.id, backendId: backend.id, tokenId: token.id, bindingId: binding.id, effectId: effect?.id ?? '' },
    ...{ userId: user.id, memberId: member?.id ?? '', invitationId: invitation.id, invitationHash: hash },
  };
}
