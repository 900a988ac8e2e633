import { digestOf } from '../core/digest.ts';
import type { RevisionContent } from '../db/contracts.ts';

/** A contract that asks for nothing. */
export const contractContent: RevisionContent = {
  format: 'yaml',
  body: 'schemaVersion: v1',
  content: { materials: [], envAllowList: [], annotations: [] },
  contentDigest: digestOf('schemaVersion: v1'),
};
