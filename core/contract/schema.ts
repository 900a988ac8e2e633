import * as z from 'zod';
import { limits } from '../limits.ts';
import { MaterialType, Name, RunnerType } from '../names.ts';
import { forbiddenCharacters } from '../source/place.ts';

/** Text for people: what is read is what is there, also when it was written with escapes. */
const plain = (maxLength: number) =>
  z
    .string()
    .max(maxLength)
    .refine(
      (text) => forbiddenCharacters(text, 1).length === 0,
      'has a control or bidirectional character, or half of a surrogate pair; remove it',
    );

/** An annotation: a value fixes it; without one it must be supplied when the evidence is added. */
const Annotation = z.strictObject({
  name: z
    .string()
    .max(128)
    .regex(
      /^[a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?$/,
      'must be letters, digits, dots, dashes and underscores, and begin and end with a letter or digit',
    )
    .describe('What the annotation is called.'),
  value: plain(limits.stringValueSizeBytes)
    .default('')
    .describe('A value fixes the annotation; an empty one has to be supplied when the evidence is added.'),
});

const ContractMaterial = z.strictObject({
  type: MaterialType.describe('The kind of the evidence.'),
  name: Name.describe('What the evidence is called in this contract: `chainloop attestation add --name`.'),
  optional: z.boolean().default(false).describe('The attestation is complete without it.'),
  output: z.boolean().default(false).describe('It is a result of the workflow: a subject of the attestation.'),
  skipUpload: z.boolean().default(false).describe('Only its digest and name are recorded; the file is not uploaded.'),
  group: Name.optional().describe('At least one material of a group has to be there.'),
  annotations: z.array(Annotation).max(limits.annotations).default([]).describe('Annotations of this material.'),
});
export type ContractMaterial = z.infer<typeof ContractMaterial>;

/** What `attestation push --signing` takes. */
const SigningWay = z.enum(['key', 'keyless', 'sigstore']);
export type SigningWay = z.infer<typeof SigningWay>;

/** What a workflow must bring, independent of the schema version and language it was written in. */
export const Contract = z.strictObject({
  materials: z.array(ContractMaterial).max(limits.contractMaterials).default([]).describe('The evidence that the workflow brings.'),
  envAllowList: z
    .array(
      z
        .string()
        .max(128)
        .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be letters, digits and underscores, and begin with no digit'),
    )
    .max(limits.contractEnvVars)
    .default([])
    .describe('Environment variables that are recorded when the attestation begins; each has to be set.'),
  runner: z
    .strictObject({ type: RunnerType.describe('The CI system.') })
    .optional()
    .describe('The CI system that the workflow has to run in; any, when absent.'),
  annotations: z.array(Annotation).max(limits.annotations).default([]).describe('Annotations of the attestation.'),
  signing: z
    .array(SigningWay)
    .min(1, 'names no way to sign; remove it to accept all')
    .max(3)
    .refine((ways) => new Set(ways).size === ways.length, 'names a way to sign twice')
    .optional()
    .describe(
      'How the attestation may be signed: with a key that the organization trusts; keyless, with any certificate that it trusts; or sigstore, only with one of a trusted root of its own, such as public Sigstore. All, when absent.',
    ),
});
export type Contract = z.infer<typeof Contract>;

/** The first schema: everything at the top. */
export const DocumentV1 = z.strictObject({ schemaVersion: z.literal('v1').describe('The version of this schema.'), ...Contract.shape });

/** The second schema: named, in the envelope that Kubernetes made common. */
export const DocumentV2 = z.strictObject({
  apiVersion: z.literal('chainloop.dev/v1').describe('The version of this schema.'),
  kind: z.literal('Contract').describe('What this document is.'),
  metadata: z.strictObject({
    name: Name.describe('The name of the contract.'),
    description: plain(limits.textLength).optional().describe('For readers; like a comment, not part of the content.'),
  }),
  spec: Contract,
});
