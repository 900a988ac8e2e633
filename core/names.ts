import * as z from 'zod';
import { limits } from './limits.ts';

/** Names are ASCII (RFC 1123 labels): what cannot be typed cannot be confused. */
export const Name = z
  .string()
  .max(limits.nameLength)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, 'must be lower-case letters, digits and dashes, and begin and end with a letter or digit');

export const materialTypes = ['STRING', 'ARTIFACT', 'CONTAINER_IMAGE', 'EVIDENCE', 'SBOM_CYCLONEDX_JSON', 'SBOM_SPDX_JSON'] as const;
/** The kinds of evidence: what a contract may ask for. One row each in core/material/. */
export const MaterialType = z.enum(materialTypes);
export type MaterialType = z.infer<typeof MaterialType>;

export const runnerTypes = [
  'GITHUB_ACTION',
  'GITLAB_PIPELINE',
  'AZURE_PIPELINE',
  'JENKINS_JOB',
  'CIRCLECI_BUILD',
  'TEAMCITY_PIPELINE',
  'BUILDKITE_PIPELINE',
  'BITBUCKET_PIPELINE',
  'TEKTON_PIPELINE',
] as const;
/** The CI systems that are recognised: what a contract may ask for. */
export const RunnerType = z.enum(runnerTypes);
export type RunnerType = z.infer<typeof RunnerType>;

/** The states of a run. `initialized` goes to one of the others, once; there is no other arrow. */
export const runStates = ['initialized', 'success', 'failed', 'cancelled', 'expired'] as const;
export const RunState = z.enum(runStates);
export type RunState = z.infer<typeof RunState>;
