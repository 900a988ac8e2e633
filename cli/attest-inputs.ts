import { resolve } from 'node:path';
import { jobName, jobWorkspace } from '../core/runner.ts';
import { commands, type Inputs, readInputs } from '../plugin/inputs.ts';
import { longName, text, texts, toggle } from './command.ts';
import type { Context } from './context.ts';
import { readConfig } from './settings.ts';
import { sigstoreFlags } from './signing.ts';

/** The inputs of the Action as options: each is also a variable, `--on-outage` CHAINLOOP_ON_OUTAGE. */
export const attestFlags = {
  command: text('<what>', `${commands.join(', ')}: one step of what several jobs share, by default attest, all of it`),
  project: text('<name>', 'the project, where bindings of several let the job in'),
  workflow: text('<name>', 'the workflow, where bindings let the job into several'),
  contractRevision: text('<n>', 'the revision of the contract that you expect (default: latest)'),
  materials: texts('<lines>', 'the evidence, one line NAME[:KIND]=VALUE each'),
  materialsFile: text('<path>', 'a file with more of these lines (default: .chainloop/materials, if it is there)'),
  annotations: texts('<lines>', 'annotations of the attestation, one line KEY=VALUE each'),
  attestationId: text('<id>', 'the run that has to be the one of this job'),
  auth: text('<way>', 'how the job says who it is: auto, oidc or token (default: token with CHAINLOOP_TOKEN, else auto)'),
  signing: text('<way>', 'how to sign: auto, keyless, key or sigstore (default: auto, with the key if there is one)'),
  signingKey: text('<path|env://VAR>', 'the private key to sign with'),
  ...sigstoreFlags,
  attach: toggle('also put the bundle on the container images, in their own registries'),
  onViolation: text('<what>', 'when the contract is not satisfied: contract (exit 3) or warn (exit 0)'),
  onOutage: text('<what>', 'when the control plane, or Sigstore, does not answer: fail (exit 75) or defer (exit 0, nothing is recorded)'),
  retryTimeout: text('<time>', 'how long a control plane that does not answer is tried, such as 90s or 3m (default: 180s)'),
  forkPr: text('<what>', 'in merge requests from forks: skip (exit 0), dry-run or fail'),
  bundlePath: text('<path>', 'where to write the Sigstore bundle'),
  reports: text(
    '<folder>',
    'where to write chainloop-summary.md, chainloop-junit.xml, chainloop.env and chainloop-bundle.json (default: in GitLab, the checkout)',
  ),
  dryRun: toggle('find out what would be attested, and send nothing'),
};

export type Given = { readonly [K in keyof typeof attestFlags]: ReturnType<(typeof attestFlags)[K]['read']> };

/**
 * Flags before variables before the configuration file. CHAINLOOP_INPUT_URL is read before CHAINLOOP_URL, and so with all: at GitLab a
 * variable of the project comes before that of a job, and none can be set to itself. Throws USAGE with every
 * problem of every input.
 */
export async function readAttestInputs({ env, globals }: Context, given: Partial<Given>): Promise<Inputs> {
  const config = await readConfig(env);
  const flags: Readonly<Record<string, string>> = Object.fromEntries(
    Object.entries({ ...given, ...globals }).flatMap(([key, value]) => {
      const written = Array.isArray(value) ? value.join('\n') : value === true ? 'true' : value;
      return typeof written === 'string' && written !== '' ? [[longName(key), written]] : [];
    }),
  );
  const kept: Readonly<Record<string, string | undefined>> = {
    url: config.url,
    organization: config.organization,
    token: config.token,
    // As for every command: a token that is given comes before that of the CI system.
    auth: env.CHAINLOOP_TOKEN ? 'token' : undefined,
    'retry-timeout': env.CHAINLOOP_RETRY_SECONDS ? `${env.CHAINLOOP_RETRY_SECONDS}s` : undefined,
  };
  const read = (name: string): string => {
    const own = name === 'control-plane' ? 'url' : name;
    return flags[own] ?? (env[variableOf(`input-${own}`)] || env[variableOf(own)] || (kept[own] ?? ''));
  };
  return readInputs(read, {
    env,
    directory: process.cwd(),
    job: jobName(env),
    addressAdvice: 'set it, or give --url',
  });
}

/** The folder for what the CI system shows of it. GitLab takes its artifacts from the checkout. */
export function readReports({ env }: Pick<Context, 'env'>, { reports }: Pick<Given, 'reports'>): string | undefined {
  const asked = reports ?? (env.CHAINLOOP_INPUT_REPORTS || env.CHAINLOOP_REPORTS || undefined);
  if (asked !== undefined) return resolve(asked);
  return env.GITLAB_CI === 'true' ? jobWorkspace(env) : undefined;
}

/** CHAINLOOP_ON_OUTAGE for on-outage. */
function variableOf(name: string): string {
  return `CHAINLOOP_${name.toUpperCase().replaceAll('-', '_')}`;
}
