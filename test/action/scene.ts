import assert from 'node:assert/strict';
import { cp, mkdir, mkdtempDisposable, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Api } from '../../client/api.ts';
import type { ActionSources } from '../fakes/actions-runner/actions.ts';
import { type GithubContext, pushEvent } from '../fakes/actions-runner/event.ts';
import { type JobOptions, type JobResult, type Run, runJob, type StepResult, stepsJob } from '../fakes/actions-runner/job.ts';
import type { Step, StepsJob } from '../fakes/actions-runner/workflow-file.ts';
import type { ControlPlaneOptions } from '../fakes/control-plane.ts';
import { type Registry, startRegistry } from '../fakes/docker-registry.ts';
import { type FederatedPlane, startFederatedPlane } from '../fakes/federated.ts';

/** This repository, which GitHub would fetch for `uses: chainloop/attest@v1`. */
export const root = join(import.meta.dirname, '..', '..');

/** A binary that the attestation is about, its SBOM, and the commit. */
export const contract = `schemaVersion: v1
materials:
  - { type: ARTIFACT, name: binary, output: true }
  - { type: SBOM_CYCLONEDX_JSON, name: sbom }
  - { type: STRING, name: commit }
`;

export const materials = 'binary=dist/app\nsbom=dist/app.cdx.json\ncommit=${{ github.sha }}';

/** A control plane that trusts GitHub's issuer of the tests, a bound workflow `bedrock/release`, and runs of acme/app at GitHub. */
export type Scene = FederatedPlane & {
  /** Where the machines of all jobs are. */
  readonly folder: string;
  /** The storage of the organization, where one was asked for. */
  readonly registry: Registry | undefined;
  /** A workflow run of its own number, unless `github` says which. */
  newRun(change?: Partial<Run> & { readonly event?: GithubContext }): Run;
  /** The inputs that every step needs. */
  readonly inputs: { readonly 'control-plane': string; readonly workflow: string };
  /** What the repository's settings have for the workflows. */
  readonly vars: Readonly<Record<string, string>>;
  /** A job on a checkout with dist/app, dist/app.cdx.json and dist/app.spdx.json, in a run of its own unless one is given. */
  job(steps: readonly Step[], options?: JobOptions & { readonly run?: Run; readonly job?: Partial<StepsJob> }): Promise<JobResult>;
  /** The run of the control plane that a step named. */
  describe(step: StepResult | undefined): Promise<Awaited<ReturnType<Api['run']['describe']['query']>>>;
  /** All runs of the workflow, newest first. */
  runs(): Promise<Awaited<ReturnType<Api['run']['list']['query']>>['items']>;
};

export async function startScene(
  options: ControlPlaneOptions & { readonly contract?: string; readonly storage?: boolean; readonly bound?: boolean } = {},
): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const federated = stack.use(await startFederatedPlane(options));
  const { api, plane } = federated;
  await api.contract.update.mutate({ name: 'release', format: 'yaml', body: options.contract ?? contract });
  if (options.bound !== false) await federated.bind('github');
  const registry = options.storage === true ? stack.use(await startRegistry()) : undefined;
  if (registry !== undefined) await api.casBackend.add.mutate({ name: 'main', repo: `${registry.host}/evidence`, insecure: true });
  const { path: folder } = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-github-')));
  let runs = 7000;
  const newRun: Scene['newRun'] = ({ event = {}, ...change } = {}) => ({
    folder,
    github: pushEvent({ run_id: String(++runs), ...event }),
    issuer: federated.github,
    sources: { 'chainloop/attest': { type: 'repository', root } },
    ...change,
  });
  const resources = stack.move();
  return {
    ...federated,
    ...{ folder, registry, newRun },
    inputs: { 'control-plane': plane.url, workflow: 'release' },
    vars: { CHAINLOOP_URL: plane.url, CHAINLOOP_ORGANIZATION: 'acme' },
    job: (steps, { run = newRun(), job, ...jobOptions } = {}) => runJob(run, stepsJob(steps, job), { prepare: checkout, ...jobOptions }),
    async describe(step) {
      const id = step?.outputs['attestation-id'] ?? '';
      assert.notEqual(id, '', `no attestation-id; the step said:\n${step?.log}`);
      return api.run.describe.query({ id });
    },
    runs: async () => (await api.run.list.query({ workflow: 'release', project: 'bedrock' })).items,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** A workspace after checkout and build. */
export async function checkout(workspace: string): Promise<void> {
  await put(workspace, 'dist/app', '#!/bin/sh\necho hello\n');
  await put(workspace, 'dist/app.cdx.json', cycloneDx);
  await put(workspace, 'dist/app.spdx.json', spdx);
}

export async function put(folder: string, path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), content);
}

export const cycloneDx = JSON.stringify({
  bomFormat: 'CycloneDX',
  specVersion: '1.5',
  version: 1,
  components: [{ type: 'library', name: 'left-pad', version: '1.3.0' }],
});

export const spdx = JSON.stringify({
  spdxVersion: 'SPDX-2.3',
  dataLicense: 'CC0-1.0',
  SPDXID: 'SPDXRef-DOCUMENT',
  name: 'app',
  documentNamespace: 'https://example.com/app',
  creationInfo: { created: '2026-11-23T09:00:00Z', creators: ['Tool: test'] },
  packages: [{ SPDXID: 'SPDXRef-app', name: 'app', downloadLocation: 'NOASSERTION', filesAnalyzed: false }],
});

/** `actions/checkout` of a project: what `files` says, made anew in each workspace; and of the repository of a called workflow. */
export function standIns(project: (workspace: string) => Promise<void>, artifacts: string): ActionSources {
  return {
    'chainloop/attest': { type: 'repository', root },
    'actions/checkout': {
      type: 'stand-in',
      async run({ inputs, machine }) {
        if (inputs.repository === undefined) await project(machine.workspace);
        // Only what an action is: its files, and its bundle.
        else
          for (const path of ['action.yml', 'action'])
            await cp(join(root, path), join(machine.workspace, inputs.path ?? '.', path), { recursive: true });
        return {};
      },
    },
    'actions/upload-artifact': {
      type: 'stand-in',
      async run({ inputs, machine }) {
        const from = join(machine.workspace, inputs.path ?? '');
        const to = join(artifacts, inputs.name ?? 'artifact');
        const folder = (inputs.path ?? '').endsWith('/');
        await mkdir(to, { recursive: true });
        await cp(from, folder ? to : join(to, from.split('/').at(-1) ?? ''), { recursive: true });
        return {};
      },
    },
    'actions/download-artifact': {
      type: 'stand-in',
      async run({ inputs, machine }) {
        const wanted = inputs.name ?? inputs.pattern ?? '*';
        const matches = new RegExp(`^${wanted.replaceAll('*', '.*')}$`);
        const names = (await readdir(artifacts)).filter((name) => matches.test(name));
        if (inputs.name !== undefined && names.length === 0)
          throw new Error(`Unable to download artifact(s): Artifact not found for name: ${wanted}`);
        for (const name of names) await cp(join(artifacts, name), join(machine.workspace, inputs.path ?? '.'), { recursive: true });
        return {};
      },
    },
  };
}

/** Everything that a job left where people or later steps can see it: workspace, temporary folder, log, outputs, state, summaries. */
export async function leftBy(job: JobResult): Promise<Readonly<Record<string, string>>> {
  const left: Record<string, string> = { log: job.log };
  for (const [index, step] of [...job.steps, ...job.posts].entries())
    left[`step ${index}`] = JSON.stringify([step.outputs, step.state, step.annotations, step.summary]);
  for (const folder of [job.workspace, job.temp]) {
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile()) left[path] = await readFile(path, 'latin1');
    }
  }
  return left;
}
