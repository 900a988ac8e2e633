import * as z from 'zod';
import { limits } from './limits.ts';
import { materialTypes, runnerTypes, runStates } from './vocabulary.ts';

export { materialTypes, runnerTypes, runStates } from './vocabulary.ts';

/** Names are ASCII (RFC 1123 labels): what cannot be typed cannot be confused. */
export const Name = z
  .string()
  .max(limits.nameLength)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, 'must be lower-case letters, digits and dashes, and begin and end with a letter or digit');

export const MaterialType = z.enum(materialTypes);
export type MaterialType = z.infer<typeof MaterialType>;

export const RunnerType = z.enum(runnerTypes);
export type RunnerType = z.infer<typeof RunnerType>;

export const RunState = z.enum(runStates);
export type RunState = z.infer<typeof RunState>;
