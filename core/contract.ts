import * as z from 'zod';
import { limits } from './limits.ts';
import { MaterialType, Name, RunnerType } from './names.ts';

/** An annotation: a value fixes it; without one it must be supplied when the evidence is added. */
const Annotation = z.strictObject({
  name: z
    .string()
    .regex(/^[a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?$/)
    .max(128),
  value: z.string().max(limits.stringValueSizeBytes).default(''),
});

const ContractMaterial = z.strictObject({
  type: MaterialType,
  name: Name,
  optional: z.boolean().default(false),
  output: z.boolean().default(false),
  skipUpload: z.boolean().default(false),
  group: Name.optional(),
  annotations: z.array(Annotation).max(limits.annotations).default([]),
});
export type ContractMaterial = z.infer<typeof ContractMaterial>;

/** What a workflow must bring, independent of the schema version and language it was written in. */
export const Contract = z.strictObject({
  materials: z.array(ContractMaterial).max(limits.contractMaterials).default([]),
  envAllowList: z
    .array(
      z
        .string()
        .regex(/^[A-Za-z_][A-Za-z0-9_]*$/)
        .max(128),
    )
    .max(limits.contractEnvVars)
    .default([]),
  runner: z.strictObject({ type: RunnerType }).optional(),
  annotations: z.array(Annotation).max(limits.annotations).default([]),
});
export type Contract = z.infer<typeof Contract>;
