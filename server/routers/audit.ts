import { wire } from '../../core/wire.ts';
import { auditHead, exportAudit, listAudit } from '../../db/audit.ts';
import { instanceOwner, router, viewer } from '../trpc.ts';

export const audits = router({
  /** What was done in the organization, newest first. */
  list: viewer.input(wire.auditList).query(({ ctx: { scope }, input }) => listAudit(scope, input)),
  /** Where its chain ends: whoever keeps it can tell later whether anything up to there was altered. */
  head: viewer.query(({ ctx: { scope } }) => auditHead(scope)),
  /** Rows in their order, each as the text that was hashed and its hash. */
  export: viewer.input(wire.auditExport).query(async ({ ctx: { scope }, input }) => ({ lines: await exportAudit(scope, input) })),
});

/** The same of what was done to the instance itself. */
export const instanceAudits = router({
  list: instanceOwner.input(wire.auditList).query(({ ctx: { services }, input }) => listAudit(services.database.system, input)),
  head: instanceOwner.query(({ ctx: { services } }) => auditHead(services.database.system)),
  export: instanceOwner
    .input(wire.auditExport)
    .query(async ({ ctx: { services }, input }) => ({ lines: await exportAudit(services.database.system, input) })),
});
