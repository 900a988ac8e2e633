import * as z from 'zod';
import { type Digest, isDigest } from './digest.ts';
import { Name, RunnerType, RunState } from './names.ts';
import type { Paged, RunView } from './wire.ts';

/** The id of a git commit: SHA-1 or SHA-256. */
const Commit = z.string().regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/, 'must be the whole id of a commit, in lower-case hex');
const Time = z.iso.datetime({ offset: true });

/** What narrows a list of runs. `workflow` is an id, or a name together with `project`. */
export const runFilter = {
  workflow: z.string().max(100).optional(),
  project: Name.optional(),
  contract: Name.optional(),
  state: RunState.optional(),
  /** `none`: no CI system was recognised. */
  runner: z.union([RunnerType, z.literal('none')]).optional(),
  commit: Commit.optional(),
  /** Opened at this time or later, and before that one. */
  since: Time.optional(),
  until: Time.optional(),
};

/** What can be asked about. */
export const asked = {
  byDigest: { digest: z.custom<Digest>(isDigest, 'must be sha256:<64 hex digits>') },
  byCommit: { commit: Commit },
  byRun: { runId: z.uuid() },
};

/** What was asked about: `digest` of bytes that runs brought, or of an attestation; `contract`: the digest of what a contract says. */
export type DiscoverSubject = { readonly type: 'digest' | 'commit' | 'contract' | 'run'; readonly value: string };

/**
 * How a run touches it. `subject`: it is an output, which the attestation is about; `material`: it is other evidence that the run brought; all of
 * it, of a run that is no success, and has no attestation.
 */
export type Touch =
  | { readonly role: 'subject' | 'material'; readonly name: string; readonly type: string }
  | { readonly role: 'commit' | 'attestation' | 'vsa' | 'provenance' | 'contract' | 'run' };

export type DiscoverEvidence = {
  readonly name: string;
  readonly type: string;
  /** Null for a STRING. */
  readonly digest: string | null;
  readonly fileName: string | null;
  /** STRING: its first 256 characters. */
  readonly value: string | null;
  readonly sizeBytes: number | null;
  /** The bytes are in storage. */
  readonly uploaded: boolean;
};

/** A run that touches it, and what else that run is of. */
export type DiscoverRun = {
  readonly run: RunView;
  readonly touches: readonly Touch[];
  /** Null until the run is a success. */
  readonly attestation: { readonly digest: string; readonly signer: string | null; readonly removedAt: string | null } | null;
  /** The digests of what the control plane signed about it: a verification summary, and provenance where its CI system proved it. */
  readonly vsa: string | null;
  readonly provenance: string | null;
  /** The output materials. */
  readonly subjects: readonly DiscoverEvidence[];
  /** The others. */
  readonly materials: readonly DiscoverEvidence[];
  /** Pieces of evidence that are not shown: `workflow run describe` shows all. */
  readonly more: number;
};

/** A page of runs, newest first. */
export type Discovery = Paged<DiscoverRun> & {
  readonly subject: DiscoverSubject;
  /** What storage has under this digest. */
  readonly stored: { readonly fileName: string | null; readonly sizeBytes: number; readonly uploadedAt: string } | null;
  /** The revisions that say it, when it is a contract. */
  readonly contracts: readonly { readonly name: string; readonly revision: number }[];
};
