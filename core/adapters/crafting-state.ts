import * as z from 'zod';
import { Contract } from '../contract/schema.ts';
import type { CraftedMaterial, CraftingStart } from '../crafting.ts';
import { type Digest, isDigest } from '../digest.ts';
import { MaterialType, Name, RunnerType } from '../names.ts';

// The files of a crafting, as strict as if a stranger had written them: what is in them gets signed.

const Texts = z.record(z.string(), z.string());

export const StartFile: z.ZodType<CraftingStart> = z.strictObject({
  version: z.literal(1, 'was written by another version of chainloop'),
  identity: z.strictObject({
    organization: z.string(),
    project: z.string(),
    team: z.string(),
    workflowId: z.string(),
    workflowName: z.string(),
    runId: z.string(),
    contractName: z.string(),
    contractRevision: z.int().nonnegative(),
  }),
  contract: Contract,
  runner: z.strictObject({
    type: RunnerType.optional(),
    url: z.string().optional(),
    environment: z.string().optional(),
    workflowFilePath: z.string().optional(),
    authenticated: z.boolean(),
  }),
  env: Texts,
  head: z
    .strictObject({
      commit: z.string().regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/),
      authorName: z.string().optional(),
      authorEmail: z.string().optional(),
      date: z.string().optional(),
      message: z.string().optional(),
      parents: z.array(z.string()).optional(),
      remotes: z.array(z.strictObject({ name: z.string(), url: z.string() })),
    })
    .optional(),
  initializedAt: z.iso.datetime(),
  dryRun: z.boolean(),
  controlPlane: z.string(),
  annotations: Texts,
});

export const MaterialFile: z.ZodType<CraftedMaterial> = z.strictObject({
  name: Name,
  type: MaterialType,
  digest: z.custom<Digest>(isDigest, 'must be sha256:<64 hex digits>').optional(),
  value: z.string().optional(),
  fileName: z.string().optional(),
  sizeBytes: z.int().nonnegative().optional(),
  uploaded: z.boolean(),
  tag: z.string().optional(),
  layout: z.string().optional(),
  annotations: Texts,
});
