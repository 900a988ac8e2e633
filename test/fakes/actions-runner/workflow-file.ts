import { parse } from 'yaml';
import * as z from 'zod';

/** The part of the workflow syntax that the examples and tests use. Strict: what the runner of the tests would ignore is refused. */

const Scalar = z.union([z.string(), z.number(), z.boolean()]).transform(String);
const Environment = z.record(z.string(), Scalar);
const Permissions = z.union([z.enum(['read-all', 'write-all']), z.record(z.string(), z.enum(['read', 'write', 'none']))]);
const Condition = Scalar.optional();

const common = {
  id: z.string().optional(),
  name: z.string().optional(),
  if: Condition,
  env: Environment.optional(),
  'continue-on-error': z.union([z.boolean(), z.string()]).optional(),
  'timeout-minutes': z.number().optional(),
  background: z.boolean().optional(),
};
const UsesStep = z.strictObject({ ...common, uses: z.string(), with: Environment.optional() });
const RunStep = z.strictObject({
  ...common,
  run: z.string(),
  shell: z.string().optional(),
  'working-directory': z.string().optional(),
});
const ParallelStep = z.strictObject({ name: z.string().optional(), parallel: z.array(z.union([UsesStep, RunStep])).min(1) });
const WaitStep = z.strictObject({ name: z.string().optional(), wait: z.union([z.string(), z.array(z.string())]) });
const WaitAllStep = z.strictObject({ name: z.string().optional(), 'wait-all': z.null() });
const CancelStep = z.strictObject({ name: z.string().optional(), cancel: z.string() });

export const Step = z.union([UsesStep, RunStep, ParallelStep, WaitStep, WaitAllStep, CancelStep]);
export type Step = z.input<typeof Step>;
export type ProgramStep = z.infer<typeof UsesStep> | z.infer<typeof RunStep>;

const Needs = z.union([z.string(), z.array(z.string())]).transform((needs) => [needs].flat());

const StepsJob = z.strictObject({
  name: z.string().optional(),
  'runs-on': z.string(),
  needs: Needs.optional(),
  if: Condition,
  permissions: Permissions.optional(),
  environment: z.union([z.string(), z.strictObject({ name: z.string(), url: z.string().optional() })]).optional(),
  env: Environment.optional(),
  outputs: z.record(z.string(), z.string()).optional(),
  strategy: z
    .strictObject({
      'fail-fast': z.boolean().optional(),
      'max-parallel': z.number().optional(),
      matrix: z.union([z.string(), z.record(z.string(), z.unknown())]),
    })
    .optional(),
  'timeout-minutes': z.number().optional(),
  concurrency: z.unknown().optional(),
  defaults: z.strictObject({ run: z.strictObject({ shell: z.string() }) }).optional(),
  steps: z.array(Step),
});
export type StepsJob = z.infer<typeof StepsJob>;

const CallJob = z.strictObject({
  name: z.string().optional(),
  needs: Needs.optional(),
  if: Condition,
  permissions: Permissions.optional(),
  uses: z.string(),
  with: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
  secrets: z.union([z.literal('inherit'), Environment]).optional(),
});
export type CallJob = z.infer<typeof CallJob>;

const Call = z.strictObject({
  inputs: z
    .record(
      z.string(),
      z.strictObject({
        type: z.enum(['string', 'boolean', 'number']),
        description: z.string().optional(),
        required: z.boolean().optional(),
        default: z.union([z.string(), z.number(), z.boolean()]).optional(),
      }),
    )
    .default({}),
  secrets: z.record(z.string(), z.strictObject({ description: z.string().optional(), required: z.boolean().optional() })).optional(),
  outputs: z.record(z.string(), z.strictObject({ description: z.string().optional(), value: z.string() })).default({}),
});

export const WorkflowFile = z.strictObject({
  name: z.string().optional(),
  'run-name': z.string().optional(),
  on: z.union([z.string(), z.array(z.string()), z.object({ workflow_call: Call.nullable().optional() }).loose()]),
  permissions: Permissions.optional(),
  env: Environment.optional(),
  concurrency: z.unknown().optional(),
  defaults: z.strictObject({ run: z.strictObject({ shell: z.string() }) }).optional(),
  jobs: z.record(z.string().regex(/^[a-zA-Z_][\w-]*$/), z.union([StepsJob, CallJob])),
});
export type WorkflowFile = z.infer<typeof WorkflowFile>;

export function parseWorkflow(text: string): WorkflowFile {
  return WorkflowFile.parse(parse(text));
}

/** What a workflow says of being called, or undefined when it cannot be. */
export function callOf({ on }: WorkflowFile): z.infer<typeof Call> | undefined {
  if (typeof on !== 'object' || Array.isArray(on) || !('workflow_call' in on)) return undefined;
  return on.workflow_call ?? { inputs: {}, outputs: {} };
}

/** True when the job gets ACTIONS_ID_TOKEN_REQUEST_URL. A job's permissions replace those of its workflow; both default to none of it. */
export function mayAskIdToken(job: z.infer<typeof Permissions> | undefined, workflow: z.infer<typeof Permissions> | undefined): boolean {
  const permissions = job ?? workflow;
  return permissions === 'write-all' || (typeof permissions === 'object' && permissions['id-token'] === 'write');
}
