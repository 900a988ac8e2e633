import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempDisposable, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect, type DatabaseOptions } from '../../db/client.ts';
import { settingsUnder } from '../../db/settings.ts';
import { openGeneration, readGeneration } from '../../server/ca/generation.ts';
import { openSecrets } from '../../server/secrets.ts';
import { databaseKinds, type Kind } from '../databases.ts';
import { createCanaries } from '../fakes/canaries.ts';
import { type CiJob, startGithubJob, startGitlabJob } from '../fakes/ci-job.ts';
import { commandLine, type Ended } from '../fakes/command-line.ts';
import { startFederatedPlane } from '../fakes/federated.ts';
import { listen } from '../fakes/listen.ts';
import { startPostgres } from '../fakes/postgres.ts';
import { needs, postgresBin } from '../needs.ts';

// S6 for jobs without a secret of their own: what a CI system gives them (its token, and the secret to ask for one), what they get for
// it (a run credential), and the keys of the authorities that certify them, are looked for in everything that is written anywhere.

for (const kind of databaseKinds) {
  test(`S6, keyless: no CI token, run credential or key of an authority is printed, logged, served, attested or stored (${kind})`, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    await using stack = new AsyncDisposableStack();
    const canaries = createCanaries();
    /** Some secrets are known only later: everything is kept, and searched at the end. */
    const outputs: { readonly where: string; readonly bytes: Buffer; readonly allowed: readonly string[] }[] = [];
    const keep = (where: string, output: string | Uint8Array, ...allowed: string[]): void =>
      void outputs.push({ where, bytes: Buffer.from(output), allowed });
    const { database, dump } = await databaseOf(kind, stack);
    const federated = stack.use(await startFederatedPlane({ database }));
    const { plane, api, github, gitlab } = federated;
    canaries.watch('owner token', plane.ownerToken);
    canaries.watch('master key', (await readFile(join(plane.dataDir, 'master-key'), 'utf8')).trim());
    let commands = 0;
    const ran = (name: string, ended: Ended): Ended => {
      commands++;
      keep(`stdout of ${name}`, ended.stdout);
      keep(`stderr of ${name}`, ended.stderr);
      return ended;
    };

    // An operator lets jobs in, from the command line.
    const { token } = await api.apiToken.create.mutate({ name: 'operator' });
    canaries.watch('API token', token);
    const line = stack.use(await commandLine({ CHAINLOOP_DEBUG: '1', CHAINLOOP_URL: plane.url }));
    const operator = async (command: string, code = 0, env: NodeJS.ProcessEnv = { CHAINLOOP_TOKEN: token }): Promise<Ended> => {
      const ended = ran(command, await line.run(command.split(' '), { env }));
      assert.equal(ended.code === 0, code === 0, `${command}: ${ended.stderr}`);
      return ended;
    };
    const binding = {
      ...{ workflow: 'bedrock/release', issuer: github.issuer, repository: 'acme/app', repositoryId: '456789', ownerId: '123456' },
      refs: ['refs/heads/main'],
    };
    await writeFile(join(line.folder, 'binding.json'), JSON.stringify(binding));
    await operator('binding create -f binding.json');
    await operator('binding ls --output json');
    await operator('trust-root export --output root.json');
    await operator('identity trust --name ci --issuer https://ci.example --san-prefix https://ci.example/acme/');
    await operator('identity ls');
    await federated.bind('gitlab');
    const body = 'schemaVersion: v1\nmaterials:\n  - { type: STRING, name: commit }\n  - { type: ARTIFACT, name: binary, output: true }\n';
    await api.contract.update.mutate({ name: 'release', format: 'yaml', body });

    // Jobs of both systems, on machines of their own: what works, and what fails at every step.
    const debug = { CHAINLOOP_DEBUG: '1' };
    const jobs: CiJob[] = [];
    const watched = async (name: string, job: CiJob): Promise<void> => {
      for (const [variable, value = ''] of Object.entries(job.env)) {
        if (/TOKEN/.test(variable)) canaries.watch(`${name}: ${variable}`, value);
      }
      jobs.push(stack.use(job));
      await writeFile(join(job.checkout, 'app.bin'), `the program of ${name}`);
    };
    const job = async (name: string, own: CiJob, command: string, succeeds = true): Promise<Ended> => {
      const ended = ran(`${name}: ${command}`, await own.run(...command.split(' ')));
      assert.equal(ended.code === 0, succeeds, `${name}: ${command}: ${ended.stderr}`);
      return ended;
    };
    for (const [name, own] of [
      ['GitHub', await startGithubJob({ url: plane.url, issuer: github, env: debug })],
      ['GitLab', await startGitlabJob({ url: plane.url, issuer: gitlab, env: debug })],
    ] as const) {
      await watched(name, own);
      await job(name, own, 'auth whoami --output json');
      await job(name, own, 'attestation init');
      await job(name, own, 'attestation add --name commit --value deadbeef');
      await job(name, own, 'attestation add --name nothing --value x', false);
      await job(name, own, 'attestation push', false);
      await job(name, own, 'attestation add --name binary --value app.bin');
      await job(name, own, 'attestation status --full');
      const kept = await everyByte(own.state);
      const [credential] = /chl_r_[\w-]+/.exec(kept.toString()) ?? [];
      canaries.watch(`${name}: run credential`, credential ?? assert.fail('no run credential is kept'));
      assert.deepEqual(canaries.findIn(kept), [`${name}: run credential`], 'the search finds it, and nothing else');
      keep(`state of ${name}`, kept, `${name}: run credential`);
      const push = await job(name, own, 'attestation push --bundle bundle.json --output json');
      const { runId }: { runId: string } = JSON.parse(push.stdout);
      await operator(`workflow run describe --id ${runId} --output json`);
      await operator(`workflow run describe --id ${runId}`);
      await job(name, own, 'workflow ls', false);
    }
    const stolen = stack.use(
      await startGitlabJob({ url: plane.url, issuer: gitlab, env: debug, claims: { project_id: '7', pipeline_id: '8' } }),
    );
    await watched('a fork', stolen);
    await job('a fork', stolen, 'attestation init', false);
    const [used = ''] = gitlab.minted;
    const replay = await startGitlabJob({ url: plane.url, issuer: gitlab, env: { ...debug, CHAINLOOP_ID_TOKEN: used } });
    await watched('a replay', replay);
    await job('a replay', replay, 'attestation init', false);
    const unknown = await startGithubJob({ url: plane.url, issuer: github, env: debug, claims: { ref: 'refs/heads/evil', run_id: '9' } });
    await watched('another branch', unknown);
    await job('another branch', unknown, 'attestation init', false);
    // A CI system, and a control plane, that repeat whatever they are told.
    await using echo = await listen(
      createServer((request, response) => {
        let said = '';
        request.on('data', (piece) => (said += piece));
        request.on('end', () => {
          const message = `no: ${request.url} ${request.headers.authorization} ${said}`;
          const error = { message, code: -32001, data: { code: 'UNAUTHENTICATED' } };
          response.writeHead(401, { 'content-type': 'application/json' }).end(JSON.stringify({ message, error }));
        });
      }),
    );
    const asked = { ACTIONS_ID_TOKEN_REQUEST_URL: `${echo.origin}/token?secret=${canaries.plant('query of the request URL')}` };
    const chattyCi = await startGithubJob({ url: plane.url, issuer: github, env: { ...debug, ...asked, CHAINLOOP_RETRY_SECONDS: '0' } });
    await watched('a chatty CI system', chattyCi);
    await job('a chatty CI system', chattyCi, 'attestation init', false);
    const chattyPlane = await startGitlabJob({ url: echo.origin, issuer: gitlab, env: debug, claims: { pipeline_id: '10' } });
    await watched('a chatty control plane', chattyPlane);
    await job('a chatty control plane', chattyPlane, 'attestation init', false);

    // A new authority, and an owner who asks.
    await operator('trust-root rotate', 0, { CHAINLOOP_TOKEN: plane.ownerToken, CHAINLOOP_ORGANIZATION: 'acme' });
    await operator('trust-root rotate', 1);
    keep('the trust root', JSON.stringify(await api.trustRoot.get.query()));
    keep('the metrics', await (await fetch(`${plane.url}/metrics`)).text());
    for (const own of jobs) {
      keep('a checkout', await everyByte(own.checkout));
      keep('the state of a job that is over', await everyByte(own.state), ...(await credentialsOf(own)));
    }
    keep('the home of the operator', await everyByte(line.folder));
    await plane.close();
    keep('the log of the server', plane.log.join('\n'));
    assert.ok(plane.log.length > 50);

    // Whatever the CI systems gave out, and the keys that are sealed in the database.
    for (const minted of [...github.minted, ...gitlab.minted]) {
      const [, payload = '', signature = ''] = minted.split('.');
      canaries.watch(`CI token ${canaries.planted}: payload`, payload);
      canaries.watch(`CI token ${canaries.planted}: signature`, signature);
    }
    for (const [name, scalar] of await authorityKeys(database, plane.dataDir)) canaries.watch(name, scalar);
    for (const [name, bytes] of await dump()) keep(name, bytes);
    for (const path of await readdir(plane.dataDir)) {
      if (path !== 'owner-token' && path !== 'master-key')
        keep(`${path} of the data directory`, await everyByte(join(plane.dataDir, path)));
    }
    const found = outputs.flatMap(({ where, bytes, allowed }) => canaries.findIn(bytes, ...allowed).map((name) => `${name} in ${where}`));
    t.diagnostic(`${canaries.planted} canaries, ${commands} commands, ${canaries.scannedBytes} bytes searched: ${found.length} found`);
    assert.deepEqual(found, []);
    assert.ok(canaries.planted > 30);
  });
}

/** The credential that a job keeps for its next command is in its file, and nowhere else. */
async function credentialsOf({ state }: CiJob): Promise<readonly string[]> {
  const kept = (await everyByte(state)).includes('chl_r_');
  return kept ? ['GitHub: run credential', 'GitLab: run credential'] : [];
}

async function databaseOf(
  kind: Kind,
  stack: AsyncDisposableStack,
): Promise<{ readonly database: DatabaseOptions; readonly dump: () => Promise<readonly (readonly [string, Uint8Array])[]> }> {
  if (kind === 'pglite') {
    const { path } = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-pglite-')));
    const dataDir = join(path, 'db');
    return { database: { dataDir }, dump: async () => [['the files of the database', await everyByte(dataDir)]] };
  }
  const postgres = stack.use(await startPostgres());
  const databaseUrl = await postgres.createDatabase();
  const url = new URL(new URL(databaseUrl).pathname, postgres.adminUrl);
  const dump = async () =>
    [['a dump of the database', execFileSync(join(postgresBin() ?? '', 'pg_dump'), [url.href], { maxBuffer: 64 * 1024 * 1024 })]] as const;
  return { database: { databaseUrl }, dump };
}

/** The private numbers of all authorities, opened with the master key. */
async function authorityKeys(database: DatabaseOptions, dataDir: string): Promise<readonly (readonly [string, Uint8Array])[]> {
  const secrets = await openSecrets({ dataDir });
  await using opened = await connect(database);
  const generations = (await settingsUnder(opened.system, 'ca/')).map(({ key, value }) => readGeneration(Number(key.slice(3)), value));
  assert.equal(generations.length, 2);
  return generations.flatMap((generation) => {
    const signers = openGeneration(generation, secrets) ?? assert.fail('the keys are not in the database');
    return [signers.issuing, signers.timestamping].map(({ key }, index) => {
      const { d = '' } = key.export({ format: 'jwk' });
      return [`key ${index} of authority ${generation.number}`, Buffer.from(d, 'base64url')] as const;
    });
  });
}

async function everyByte(path: string): Promise<Buffer> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Buffer.concat(await Promise.all((files.length === 0 ? [path] : files).map((file) => readFile(file).catch(() => Buffer.of()))));
}
