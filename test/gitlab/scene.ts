import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, mkdtempDisposable, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import * as z from 'zod';
import type { Api } from '../../client/api.ts';
import { cycloneDx } from '../action/scene.ts';
import type { ControlPlaneOptions } from '../fakes/control-plane.ts';
import { type FederatedPlane, startFederatedPlane } from '../fakes/federated.ts';
import { listen } from '../fakes/listen.ts';

// GitLab without GitLab: gitlab-ci-local reads the pipeline of a project and runs its jobs in a shell, all in one folder (with one for each, it
// would empty it before after_script). What a runner and the server of GitLab add is here: id tokens, the id of the pipeline, and npm's registry, whose
// package is this checkout.

export const root = join(import.meta.dirname, '..', '..');
const program = fileURLToPath(import.meta.resolve('gitlab-ci-local'));

/** The version under which projects of the tests include the components. */
export const componentVersion = '1.0.0';

export const contract = `schemaVersion: v1
materials:
  - { type: ARTIFACT, name: binary, output: true }
  - { type: SBOM_CYCLONEDX_JSON, name: sbom }
  - { type: STRING, name: commit }
`;

/** A job that builds, as most pipelines begin. */
export const build = `build:
  stage: build
  script: [sh build.sh]
  artifacts: { paths: [dist] }
`;

/** The files of a project, by their paths; its pipeline is .gitlab-ci.yml. */
export type Files = Readonly<Record<string, string>>;

export const project: Files = {
  'build.sh': 'set -e\nmkdir dist\necho hello > dist/app\ncp sbom.json dist/app.cdx.json\n',
  'sbom.json': cycloneDx,
};

/** How a job of a pipeline ended, and what it left. */
export type JobEnd = {
  /** Of its script. */
  readonly exitCode: number;
  /** Failed with an exit code that is allowed. */
  readonly allowed: boolean;
  readonly log: string;
};

export type Pipeline = {
  readonly id: string;
  /** Everything that was said, by gitlab-ci-local and by the jobs. */
  readonly output: string;
  readonly jobs: Readonly<Record<string, JobEnd>>;
  /** The checkout, as the jobs have left it. */
  readonly folder: string;
  /** A file in it; empty when there is none. */
  file(path: string): Promise<string>;
};

export type PipelineOptions = {
  /** CI/CD variables, of the project or predefined. */
  readonly variables?: Readonly<Record<string, string>>;
  /** What the server says in id tokens beside what is so for every job. */
  readonly claims?: Readonly<Record<string, string>>;
  /** Goes on with a pipeline, as a retried job does. */
  readonly id?: string;
  /** The project's own files, in place of those of `project`. */
  readonly files?: Files;
  /** Where the project is; `acme/app` unless said otherwise. */
  readonly path?: string;
  /** Programs that jobs find first: a folder. */
  readonly tools?: string;
};

export type Scene = FederatedPlane & {
  readonly folder: string;
  /** Runs the pipeline of a project that has these files, committed. */
  pipeline(yaml: string, options?: PipelineOptions): Promise<Pipeline>;
  /** What gitlab-ci-local says of pipelines that are not valid. */
  refusals(yamls: readonly string[]): Promise<readonly string[]>;
  runs(): Promise<Awaited<ReturnType<Api['run']['list']['query']>>['items']>;
  describe(id: string): Promise<Awaited<ReturnType<Api['run']['describe']['query']>>>;
};

export async function startScene(
  options: ControlPlaneOptions & { readonly contract?: string; readonly binding?: Readonly<Record<string, unknown>> | false } = {},
): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const federated = stack.use(await startFederatedPlane(options));
  await federated.api.contract.update.mutate({ name: 'release', format: 'yaml', body: options.contract ?? contract });
  if (options.binding !== false) await federated.bind('gitlab', options.binding);
  const { path: folder } = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-gitlab-')));
  const gitlab = await publishComponents(folder);
  const tokens = stack.use(await startTokens(federated));
  const npx = await writeNpx(folder, tokens.url);
  let pipelines = 9000;

  async function prepare(yaml: string, { files = project, path = 'acme/app' }: PipelineOptions): Promise<string> {
    const cwd = join(folder, `project-${++pipelines}`);
    await gitlab.makeRoom(cwd);
    for (const [file, text] of Object.entries({ ...files, '.gitlab-ci.yml': yaml })) await put(cwd, file, text);
    await gitlab.git(cwd, 'init', '--quiet');
    await gitlab.git(cwd, 'remote', 'add', 'origin', `https://gitlab.com/${path}.git`);
    await gitlab.commit(cwd);
    return cwd;
  }

  async function start(cwd: string, change: PipelineOptions): Promise<{ readonly output: string; readonly id: string }> {
    const { variables = {}, claims = {}, id = String(pipelines), tools } = change;
    const given = { GITLAB_CI: 'true', CI_PIPELINE_ID: id, CHAINLOOP_URL: federated.plane.url, ...variables };
    tokens.serve({ cwd, pipelineId: id, claims, variables: given });
    const path = [tools, npx, dirname(process.execPath), process.env.PATH].filter((part) => part !== undefined).join(':');
    const child = spawn(
      process.execPath,
      [
        ...[program, '--cwd', '.', '--force-shell-executor', '--no-cleanup'],
        // GitLab takes an empty list of tags; its schema for editors does not.
        ...['--ignore-schema-paths', '#/definitions/tags/minItems'],
        ...['--ignore-predefined-vars', Object.keys(given).join(',')],
        ...Object.entries(given).flatMap(([name, value]) => ['--variable', `${name}=${value}`]),
      ],
      { cwd, env: { PATH: path, HOME: gitlab.home, NO_COLOR: '1', LANG: 'C.UTF-8' }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const pieces: string[] = [];
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (piece: string) => void pieces.push(piece));
    await once(child, 'close');
    return { output: pieces.join(''), id };
  }

  const resources = stack.move();
  return {
    ...federated,
    folder,
    async pipeline(yaml, change = {}) {
      const cwd = await prepare(yaml, change);
      const { output, id } = await start(cwd, change);
      const file = (path: string): Promise<string> => readFile(join(cwd, path), 'utf8').catch(() => '');
      return { id, output, jobs: await endsOf(output, join(cwd, '.gitlab-ci-local')), folder: cwd, file };
    },
    async refusals(yamls) {
      const cwd = await prepare('', {});
      const said: string[] = [];
      for (const yaml of yamls) {
        await put(cwd, '.gitlab-ci.yml', yaml);
        const { output } = await start(cwd, {});
        assert.doesNotMatch(output, / starting /, `a job was started:\n${output}`);
        said.push(output);
      }
      return said;
    },
    runs: async () => (await federated.api.run.list.query({ workflow: 'release', project: 'bedrock' })).items,
    describe: (id) => federated.api.run.describe.query({ id }),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** gitlab-component/ as the project chainloop/attest of gitlab.com, with one version. */
async function publishComponents(folder: string) {
  const home = join(folder, 'home');
  await mkdir(home);
  const git = async (cwd: string, ...args: readonly string[]): Promise<string> => {
    const env = { PATH: process.env.PATH, HOME: home };
    return (await promisify(execFile)('git', ['-C', cwd, ...args], { env })).stdout;
  };
  const bare = join(folder, 'attest.git');
  const origins = ['https://gitlab.com/', 'https://gitlab.com:443/'].map((origin) => `  insteadOf = ${origin}chainloop/attest.git\n`);
  await writeFile(
    join(home, '.gitconfig'),
    `[user]\n  name = Alice\n  email = alice@example.com\n[init]\n  defaultBranch = main\n[uploadpack]\n  allowFilter = true\n[url "file://${bare}"]\n${origins.join('')}`,
  );
  const commit = async (cwd: string): Promise<void> => {
    await git(cwd, 'add', '--all');
    await git(cwd, 'commit', '--quiet', '--message', 'all of it');
  };
  const work = join(folder, 'attest');
  await cp(join(root, 'gitlab-component'), work, { recursive: true });
  await git(work, 'init', '--quiet');
  await commit(work);
  await git(work, 'tag', componentVersion);
  await git(folder, 'clone', '--quiet', '--bare', work, bare);
  /** gitlab-ci-local fetches the components at the same time, with `cp -r` into one folder: where that has to be made, one of them may fail. */
  const makeRoom = async (project: string): Promise<void> => {
    const fetched = join(project, '.gitlab-ci-local', 'includes', 'gitlab.com', 'chainloop', 'attest', componentVersion, 'templates');
    for (const name of await readdir(join(work, 'templates'))) await mkdir(join(fetched, name), { recursive: true });
  };
  return { home, git, commit, makeRoom };
}

const WithTokens = z.object({ id_tokens: z.record(z.string(), z.object({ aud: z.string() })).default({}) });

type Serving = {
  readonly cwd: string;
  readonly pipelineId: string;
  readonly claims: Readonly<Record<string, string>>;
  readonly variables: Readonly<Record<string, string>>;
};

/** What GitLab's server does: every job that asks for id tokens gets them, for the audiences that it names, when it starts. */
async function startTokens({ gitlab }: FederatedPlane) {
  let serving: Serving | undefined;
  const given = new Map<string, Promise<string>>();

  /** By the names of their variables, as JSON. */
  async function tokensOf(job: string, jobId: string, sha: string): Promise<string> {
    if (serving === undefined) throw new Error('no pipeline is running');
    const { cwd, pipelineId, claims, variables } = serving;
    const expanded: unknown = parse(await readFile(join(cwd, '.gitlab-ci-local', 'expanded-gitlab-ci.yml'), 'utf8'));
    const keywords = WithTokens.parse(z.record(z.string(), z.unknown()).parse(expanded)[job.replace(/: \[.*$/, '')]);
    const tokens = Object.entries(keywords.id_tokens).map(async ([name, { aud }]) => {
      const audience = aud.replaceAll(/\$\{?(\w+)\}?/g, (_, variable: string) => variables[variable] ?? '');
      const said = { pipeline_id: pipelineId, job_id: jobId, sha, ci_config_sha: sha, ...claims };
      return [name, await gitlab.gitlab({ audience, claims: said })] as const;
    });
    return JSON.stringify(Object.fromEntries(await Promise.all(tokens)));
  }

  const server = createServer((request, response) => {
    const asked = new URL(request.url ?? '/', 'http://localhost').searchParams;
    const [job, id, sha] = [asked.get('job') ?? '', asked.get('id') ?? '', asked.get('sha') ?? ''];
    const token = given.get(id) ?? tokensOf(job, id, sha);
    given.set(id, token);
    token.then(
      (text) => response.end(text),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  const listening = await listen(server);
  return {
    url: listening.origin,
    serve: (next: Serving) => {
      serving = next;
    },
    [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
  };
}

/** `npx --yes chainloop@VERSION …` in the environment that a runner would have made. */
async function writeNpx(folder: string, tokensUrl: string): Promise<string> {
  const { version } = z.object({ version: z.string() }).parse(JSON.parse(await readFile(join(root, 'package.json'), 'utf8')));
  const text = `#!${process.execPath}
const { spawn } = require('node:child_process');
const [yes, name, ...args] = process.argv.slice(2);
if (yes !== '--yes' || name !== 'chainloop@${version}') throw new Error('npx was asked for ' + name);
const { CI_JOB_NAME: job = '', CI_JOB_ID: id = '', CI_COMMIT_SHA: sha = '' } = process.env;
fetch('${tokensUrl}/?' + new URLSearchParams({ job, id, sha })).then(async (answer) => {
  if (!answer.ok) throw new Error(await answer.text());
  const env = { ...process.env, CI_PROJECT_DIR: process.cwd(), ...(await answer.json()) };
  const child = spawn(process.execPath, ['${join(root, 'bin', 'chainloop.js')}', ...args], { env, stdio: 'inherit' });
  child.on('exit', (code) => { process.exitCode = code ?? 1; });
});
`;
  const tools = join(folder, 'tools');
  await put(tools, 'npx', text);
  await chmod(join(tools, 'npx'), 0o755);
  return tools;
}

/** How the jobs ended, as gitlab-ci-local tells it. */
async function endsOf(output: string, state: string): Promise<Readonly<Record<string, JobEnd>>> {
  const ends = new Map<string, Pick<JobEnd, 'exitCode' | 'allowed'>>();
  for (const [, name = '', word, code = '0', after] of output.matchAll(
    /^(\S.*?) +finished in [^\n]*?(?: (FAIL|WARN) (\d+) *(after_script)?)?$/gm,
  )) {
    // Of a failed job this is said twice, the second time of its after_script.
    if (after === undefined && !['pipeline', 'parsing and downloads'].includes(name))
      ends.set(name, { exitCode: Number(code), allowed: word === 'WARN' });
  }
  const jobs = Array.from(ends, async ([name, end]): Promise<readonly [string, JobEnd]> => {
    const safeName = name.replaceAll(/[^\w-]+/g, (part) => Buffer.from(part).toString('base64url'));
    const log = await readFile(join(state, 'output', `${safeName}.log`), 'utf8').catch(() => '');
    return [name, { ...end, log }];
  });
  return Object.fromEntries(await Promise.all(jobs));
}

async function put(folder: string, path: string, content: string): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), content, { mode: path.endsWith('.sh') ? 0o755 : 0o644 });
}
