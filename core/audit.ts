import * as z from 'zod';

/**
 * Who has done something, as the audit log says it. `owner`: the owner token of the instance; `person`: a member who is logged in; `job`: the
 * run credential of a federated job; `system`: the control plane by itself, its name says which part; `database`: a user of the database who
 * went past the control plane.
 */
export const AuditActor = z.strictObject({
  kind: z.enum(['owner', 'person', 'api-token', 'service-account', 'job', 'system', 'database']),
  /** Of the token, the member or the run credential. */
  id: z.string().nullable(),
  name: z.string(),
});
export type AuditActor = z.infer<typeof AuditActor>;
