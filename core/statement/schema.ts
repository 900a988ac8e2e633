import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import * as z from 'zod';
import { Base64, fromBase64 } from '../base64.ts';
import { limits } from '../limits.ts';
import { MaterialType, Name, RunnerType } from '../names.ts';

export const statementType = 'https://in-toto.io/Statement/v1';
export const predicateType = 'chainloop.dev/attestation/v0.2';
export const buildType = 'chainloop.dev/workflowrun/v0.1';

const Hex64 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex digits');
const Hex40 = z.string().regex(/^[0-9a-f]{40}$/, 'must be 40 lower-case hex digits');
const Label = z.string().max(limits.textLength);
/** A base name, or an image's repository. */
const ResourceName = z.string().min(1).max(1024);
const Values = z.record(z.string().max(128), z.string().max(limits.stringValueSizeBytes));

/**
 * The commit that the workspace was at (in-toto ResourceDescriptor v1). `sha1` for the SHA-1 object format; `gitCommit`, the word of
 * in-toto's DigestSet, for the SHA-256 one: `sha256` there would promise the digest of some bytes.
 */
const GitSubject = z.strictObject({
  name: z.literal('git.head'),
  digest: z.union([z.strictObject({ sha1: Hex40 }), z.strictObject({ gitCommit: Hex64 })]),
  annotations: z
    .strictObject({
      'author.name': Label.optional(),
      'author.email': Label.optional(),
      date: z.iso.datetime().optional(),
      message: Label.optional(),
      /** Of a merge commit: a pull request of GitHub is built on one, whose second parent is the commit that was proposed. */
      parents: z.array(z.string().max(64)).max(64).optional(),
      remotes: z
        .array(z.strictObject({ name: Label, url: z.string().max(2048) }))
        .max(limits.gitRemotes)
        .optional(),
    })
    .optional(),
});

/** An output material. */
const MaterialSubject = z.strictObject({
  name: ResourceName,
  digest: z.strictObject({ sha256: Hex64 }),
  annotations: z.strictObject({
    'chainloop.material.name': Name,
    'chainloop.material.type': MaterialType.exclude(['STRING']),
    'chainloop.material.image.tag': z.string().max(128).optional(),
  }),
});

const StringMaterial = z
  .strictObject({
    digest: z.strictObject({ sha256: Hex64 }),
    content: Base64.max(Math.ceil(limits.stringValueSizeBytes / 3) * 4),
    annotations: z.strictObject({
      'chainloop.material.name': Name,
      'chainloop.material.type': z.literal('STRING'),
      'chainloop.material.annotations': Values.optional(),
    }),
  })
  .refine((material) => createHash('sha256').update(fromBase64(material.content)).digest('hex') === material.digest.sha256, {
    message: 'digest.sha256 is not the digest of the content',
  })
  .refine((material) => isUtf8(fromBase64(material.content)), { message: 'content is not text in UTF-8' });

const StoredMaterial = z.strictObject({
  name: ResourceName,
  digest: z.strictObject({ sha256: Hex64 }),
  annotations: z.strictObject({
    'chainloop.material.name': Name,
    'chainloop.material.type': MaterialType.exclude(['STRING']),
    /** The bytes are in the organization's storage. */
    'chainloop.material.cas': z.literal(true).optional(),
    'chainloop.material.size': z.int().nonnegative().optional(),
    'chainloop.material.image.tag': z.string().max(128).optional(),
    'chainloop.material.annotations': Values.optional(),
  }),
});

const Metadata = z.strictObject({
  name: Label.optional(),
  workflowName: Label.optional(),
  project: Label.optional(),
  team: Label.optional(),
  organization: Label.optional(),
  workflowID: Label.optional(),
  /** Absent in a dry run. */
  workflowRunID: Label.optional(),
  contractName: Label.optional(),
  contractVersion: z
    .string()
    .regex(/^[1-9][0-9]{0,9}$/, 'must be a revision number')
    .optional(),
  initializedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
});

/**
 * The in-toto Statement v1 with our predicate. The keys stand in the order in which they are written: the canonical text of a
 * statement is this schema's own output. Keys without a value are absent.
 */
export const Statement = z.strictObject({
  _type: z.literal(statementType, `must be ${statementType}`),
  predicateType: z.literal(predicateType, `must be ${predicateType}`),
  subject: z
    .array(z.union([GitSubject, MaterialSubject]))
    .min(1, 'is empty: it would be an attestation of nothing')
    .max(limits.contractMaterials + 1),
  predicate: z.strictObject({
    buildType: z.literal(buildType),
    builder: z.strictObject({ id: Label.min(1) }),
    metadata: Metadata,
    env: z.record(z.string().max(128), z.string().max(limits.envValueSizeBytes)),
    runnerType: RunnerType.optional(),
    runnerURL: z.string().max(2048).optional(),
    /** False: only the client says so. */
    runnerAuthenticated: z.boolean(),
    runnerEnvironment: Label.optional(),
    runnerWorkflowFilePath: z.string().max(1024).optional(),
    materials: z.array(z.union([StringMaterial, StoredMaterial])).max(limits.contractMaterials),
    annotations: Values,
  }),
});
export type Statement = z.infer<typeof Statement>;
export type GitSubject = z.infer<typeof GitSubject>;
export type Subject = Statement['subject'][number];
export type StatementMaterial = Statement['predicate']['materials'][number];
