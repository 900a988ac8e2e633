import { apiTokens } from './routers/api-token.ts';
import { artifacts } from './routers/artifact.ts';
import { attestations } from './routers/attestation.ts';
import { audits, instanceAudits } from './routers/audit.ts';
import { auth } from './routers/auth.ts';
import { bindings } from './routers/binding.ts';
import { casBackends } from './routers/cas-backend.ts';
import { contracts } from './routers/contract.ts';
import { discovery } from './routers/discover.ts';
import { identities } from './routers/identity.ts';
import { keys } from './routers/key.ts';
import { invitations, members } from './routers/member.ts';
import { organizations } from './routers/organization.ts';
import { outboxes } from './routers/outbox.ts';
import { projects } from './routers/project.ts';
import { retention } from './routers/retention.ts';
import { runs } from './routers/run.ts';
import { serviceAccounts } from './routers/service-account.ts';
import { sessions } from './routers/session.ts';
import { signing } from './routers/signing.ts';
import { trustRoots } from './routers/trust-root.ts';
import { verdicts } from './routers/verdict.ts';
import { workflows } from './routers/workflow.ts';
import { router } from './trpc.ts';

/** Every procedure of the API. test/tenants.test.ts walks them all: a new one needs a row there. */
export const appRouter = router({
  auth,
  session: sessions,
  organization: organizations,
  member: members,
  invitation: invitations,
  contract: contracts,
  project: projects,
  workflow: workflows,
  run: runs,
  serviceAccount: serviceAccounts,
  apiToken: apiTokens,
  key: keys,
  identity: identities,
  binding: bindings,
  casBackend: casBackends,
  attestation: attestations,
  artifact: artifacts,
  audit: audits,
  instanceAudit: instanceAudits,
  discover: discovery,
  outbox: outboxes,
  retention,
  signing,
  trustRoot: trustRoots,
  verdict: verdicts,
});

/** The client imports this type, and nothing else of the server. */
export type AppRouter = typeof appRouter;
