import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Api, createApi } from '../../client/api.ts';
import type { ExchangeAnswer } from '../../core/wire.ts';
import { type ControlPlane, type ControlPlaneOptions, startControlPlane } from './control-plane.ts';
import { githubJob, gitlabJob, type Issuer, startIssuer } from './issuer.ts';

/** A control plane that trusts one issuer of each kind on loopback, and an organization with a workflow. */
export type FederatedPlane = {
  readonly plane: ControlPlane;
  readonly github: Issuer;
  readonly gitlab: Issuer;
  /** An operator of organization `acme`, which has workflow `bedrock/release`. */
  readonly api: Api;
  /** Binds the job of `githubJob` or `gitlabJob` to that workflow; `change` adds or replaces keys, undefined leaves one out. */
  bind(kind: 'github' | 'gitlab', change?: Readonly<Record<string, unknown>>, api?: Api): Promise<string>;
  exchange(
    subjectToken: string,
    choice?: { readonly organization?: string; readonly project?: string; readonly workflow?: string },
  ): Promise<ExchangeAnswer>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** The one contract of these tests. */
const contract = 'schemaVersion: v1\nmaterials:\n  - { type: STRING, name: commit }\n';

/** `others`: more issuers for the file, as it has them. */
export async function startFederatedPlane(options: ControlPlaneOptions = {}, others: readonly object[] = []): Promise<FederatedPlane> {
  await using stack = new AsyncDisposableStack();
  const issuerOptions = options.now === undefined ? {} : { now: options.now };
  const [github, gitlab] = [stack.use(await startIssuer(issuerOptions)), stack.use(await startIssuer(issuerOptions))];
  const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-issuers-')));
  const file = join(folder.path, 'issuers.json');
  const entry = (issuer: Issuer, kind: 'github' | 'gitlab') => ({
    ...{ issuer: issuer.issuer, kind, serverUrl: `https://${kind}.com`, allowInsecure: true },
  });
  await writeFile(file, JSON.stringify({ issuers: [entry(github, 'github'), entry(gitlab, 'gitlab'), ...others] }));
  const plane = stack.use(await startControlPlane({ ...options, options: { ...options.options, issuers: file } }));
  const { api } = await plane.createOrganization('acme');
  await api.contract.create.mutate({ name: 'release', format: 'yaml', body: contract });
  await api.workflow.create.mutate({ name: 'release', project: 'bedrock', contract: 'release' });
  const audience = { audience: plane.url };
  const toPlane = (issuer: Issuer): Issuer => ({
    ...issuer,
    github: (mint) => issuer.github({ ...audience, ...mint }),
    gitlab: (mint) => issuer.gitlab({ ...audience, ...mint }),
  });
  const resources = stack.move();
  return {
    plane,
    github: toPlane(github),
    gitlab: toPlane(gitlab),
    api,
    async bind(kind, change = {}, by = api) {
      const own =
        kind === 'github'
          ? {
              issuer: github.issuer,
              repository: githubJob.repository,
              repositoryId: githubJob.repository_id,
              ownerId: githubJob.repository_owner_id,
            }
          : {
              issuer: gitlab.issuer,
              repository: gitlabJob.project_path,
              repositoryId: gitlabJob.project_id,
              ownerId: gitlabJob.namespace_id,
            };
      const body = JSON.stringify({ workflow: 'bedrock/release', ...own, refs: ['refs/heads/main', 'refs/tags/v*'], ...change });
      return (await by.binding.create.mutate({ format: 'json', body })).id;
    },
    exchange: (subjectToken, { organization, ...choice } = {}) =>
      createApi({ url: plane.url, token: 'none', organization, version: 'test', retryBudgetMs: 0 }).auth.exchange.mutate({
        subjectToken,
        ...choice,
      }),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
