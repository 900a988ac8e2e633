import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import pg from 'pg';
import { databaseKinds } from '../databases.ts';
import { createCanaries } from '../fakes/canaries.ts';
import { commandLine, type Ended } from '../fakes/command-line.ts';
import { listen } from '../fakes/listen.ts';
import { type Postgres, startPostgres } from '../fakes/postgres.ts';
import { startTinyRegistry } from '../fakes/tiny-registry.ts';
import { needs, postgresBin } from '../needs.ts';

// S6: secrets are planted wherever the product takes one, every command runs with and without success, as talkative as it can be; then
// whatever was printed, logged, served or stored is searched for them.

const contract = `schemaVersion: v1
materials:
  - { type: STRING, name: commit }
  - { type: ARTIFACT, name: binary, output: true }
  - { type: CONTAINER_IMAGE, name: image, optional: true }
envAllowList: [PUBLIC_VALUE]
`;

for (const kind of databaseKinds) {
  test(`S6: no secret is printed, logged, served, attested or stored (${kind})`, { timeout: 240_000 }, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    await using stack = new AsyncDisposableStack();
    const canaries = createCanaries();
    const found: string[] = [];
    /** Searches one piece of output; the secrets that are meant to be in it are named. */
    const search = (where: string, output: string | Uint8Array, ...allowed: readonly string[]): void => {
      for (const name of canaries.findIn(output, ...allowed)) found.push(`${name} in ${where}`);
    };
    let commands = 0;
    const line = stack.use(await commandLine({ CHAINLOOP_DEBUG: '1' }));
    const checkout = join(line.folder, 'checkout');
    await mkdir(checkout);
    const run = async (env: NodeJS.ProcessEnv, command: string, options: { stdin?: string; shows?: string } = {}): Promise<Ended> => {
      const ended = await line.run(command.split(' '), {
        env,
        cwd: checkout,
        ...(options.stdin !== undefined && { stdin: options.stdin }),
      });
      commands++;
      const name = command.replaceAll(/canary\w+|chl_\S+/g, '…');
      search(`stdout of ${name}`, ended.stdout, ...(options.shows === undefined ? [] : [options.shows]));
      search(`stderr of ${name}`, ended.stderr);
      return ended;
    };
    const done = async (...given: Parameters<typeof run>): Promise<Ended> => {
      const ended = await run(...given);
      assert.equal(ended.code, 0, `${given[1]}: ${ended.stderr}`);
      return ended;
    };
    const fails = async (...given: Parameters<typeof run>): Promise<void> => assert.notEqual((await run(...given)).code, 0, given[1]);

    // The server, with a master key, and a password in the address of its database.
    const masterKey = randomBytes(32).toString('base64');
    canaries.watch('master key', masterKey);
    const postgres = kind === 'postgresql' ? stack.use(await startPostgres()) : undefined;
    const database = await databaseOf(postgres, canaries.plant('database password'));
    const server = stack.use(await startServer(line, { CHAINLOOP_MASTER_KEY: masterKey, ...database }));
    const url = { CHAINLOOP_URL: server.url };
    const ownerToken = (await readFile(join(server.dataDir, 'owner-token'), 'utf8')).trim();
    canaries.watch('owner token', ownerToken);
    assert.deepEqual(canaries.findIn(`Basic ${Buffer.from(`x:${ownerToken}`).toString('base64')}`), ['owner token'], 'the search finds');

    // An operator.
    const owner = { ...url, CHAINLOOP_TOKEN: ownerToken, CHAINLOOP_ORGANIZATION: 'acme' };
    await done(owner, 'org create --name acme');
    const tokenOf = ({ stdout }: Ended): string => /chl_\w+_[\w-]+/.exec(stdout)?.[0] ?? assert.fail(stdout);
    const apiToken = tokenOf(await done(owner, 'api-token create --name operator --output json'));
    canaries.watch('api token', apiToken);
    const operator = { ...url, CHAINLOOP_TOKEN: apiToken };
    await writeFile(join(checkout, 'contract.yaml'), contract);
    await done(operator, 'workflow contract create --name release -f contract.yaml');
    await done(operator, 'workflow create --name release --project bedrock --contract release');
    const jobToken = tokenOf(await done(operator, 'service-account create --workflow release --project bedrock --name ci'));
    canaries.watch('service account token', jobToken);
    await done(url, `auth login --organization acme`, { stdin: ownerToken });
    await done(url, 'auth whoami');
    await fails(url, 'auth login', { stdin: canaries.plant('something else at login') });
    await fails(url, 'auth login --token-file contract.yaml');
    await fails({ ...url, CHAINLOOP_TOKEN: `${apiToken}x` }, 'workflow ls');
    await fails({ ...operator, CHAINLOOP_URL: `http://me:${canaries.plant('password in CHAINLOOP_URL')}@127.0.0.1:1` }, 'workflow ls');

    // Registries: one that asks for a password, and one that says everything that it was told.
    const registryPassword = canaries.plant('password of the storage backend');
    await using registry = await startTinyRegistry({ account: { username: 'robot', password: registryPassword } });
    const presigned = `X-Amz-Signature=${canaries.plant('presigned query')}&_state=${canaries.plant('upload state')}`;
    const chatty = stack.use(await listen(chattyRegistry(presigned)));
    const addBackend = (name: string, host: string) =>
      `cas-backend add oci --name ${name} --repo ${host}/evidence --insecure --username robot`;
    await done(operator, `${addBackend('good', registry.host)} --password ${registryPassword} --keep-default`);
    const env = { ...operator, CHAINLOOP_REGISTRY_PASSWORD: canaries.plant('CHAINLOOP_REGISTRY_PASSWORD') };
    await fails(env, addBackend('wrong', registry.host));
    await fails(env, `${addBackend('chatty', chatty.host)}`);
    await fails(operator, `cas-backend add oci --name url --repo https://me:${canaries.plant('password in --repo')}@127.0.0.1/x`);
    await fails(operator, `${addBackend('typo', registry.host)} --pasword ${canaries.plant('password behind a mistyped option')}`);
    await fails(operator, `${addBackend('typo', registry.host)} --pasword=${canaries.plant('password in a mistyped option')}`);
    await done(operator, 'cas-backend check --name good');
    await registry.expireTokens();
    await done(operator, 'cas-backend ls --output json');

    // Keys.
    const signingPassword = canaries.plant('signing password');
    await done({ ...operator, CHAINLOOP_SIGNING_PASSWORD: signingPassword }, 'key generate --output-key-prefix locked');
    await done(operator, 'key generate --output-key-prefix release');
    const pem = await readFile(join(checkout, 'release.key'), 'utf8');
    canaries.watch('signing key', pem.split('\n')[1] ?? '');
    await done(operator, 'key trust --name release -f release.pub');
    await fails(operator, 'key trust --name release -f release.key');

    // A job in a checkout whose remotes and variables carry credentials.
    const git = (...args: string[]) => execFileSync('git', args, { cwd: checkout, stdio: 'ignore' });
    git('init', '-q', '.');
    git(
      'remote',
      'add',
      'origin',
      `https://me:${canaries.plant('password in a remote')}@example.com/app.git?t=${canaries.plant('query of a remote')}`,
    );
    git('remote', 'add', 'scp', `${canaries.plant('user of a remote')}@example.com:acme/app.git`);
    git('-c', 'user.name=a', '-c', 'user.email=a@example.com', 'commit', '-q', '--allow-empty', '-m', 'first');
    await mkdir(join(line.folder, '.docker'));
    const dockerAuth = Buffer.from(`robot:${canaries.plant('password of Docker')}`).toString('base64');
    await writeFile(join(line.folder, '.docker', 'config.json'), JSON.stringify({ auths: { [registry.host]: { auth: dockerAuth } } }));
    await writeFile(join(checkout, 'app.bin'), 'the program');
    const job = {
      ...url,
      CHAINLOOP_TOKEN: jobToken,
      RELEASE_KEY: pem,
      PUBLIC_VALUE: 'may be seen',
      PRIVATE_VALUE: canaries.plant('variable that is not allowed'),
      GITLAB_CI: 'true',
      CI_JOB_ID: '1',
      CI_JOB_TOKEN: canaries.plant('token of the CI system'),
      CI_JOB_URL: `https://me:${canaries.plant('password in the URL of the run')}@gitlab.example.com/1`,
      CI_SERVER_URL: `https://me:${canaries.plant('password in a variable that is recorded')}@gitlab.example.com`,
    };
    await done(job, 'attestation init');
    await done(job, 'attestation add --name commit --value deadbeef');
    await done(job, 'attestation add --name binary --value app.bin');
    await fails(job, `attestation add --name image --value ${registry.host}/evidence:v1`);
    const flagPassword = canaries.plant('--registry-password');
    await fails(
      job,
      `attestation add --name image --value ${registry.host}/evidence:v1 --registry-username me --registry-password ${flagPassword}`,
    );
    await fails(
      job,
      `attestation add --name image --value ${chatty.host}/evidence:v1 --registry-username me --registry-password ${flagPassword}`,
    );
    await fails(job, `attestation add --name image --value https://me:${canaries.plant('password in an image')}@127.0.0.1/x --output json`);
    await fails(job, 'attestation push --key locked.key');
    await fails({ ...job, CHAINLOOP_SIGNING_PASSWORD: canaries.plant('wrong signing password') }, 'attestation push --key locked.key');
    await fails(job, `attestation push --key ${canaries.plant('secret in place of a path')}`);
    await fails(job, `attestation push --key env://${canaries.plant('secret in place of a variable')}`);
    await fails({ ...job, CHAINLOOP_SIGNING_KEY: pem }, 'attestation push');
    await fails({ ...job, CHAINLOOP_SIGNING_PASSWORD: signingPassword }, 'attestation push --key locked.key');
    await done(job, 'attestation status --full');
    search('the crafting state', await everyByte(join(line.folder, 'state')));
    await using echo = await listen(
      createServer((request, response) => {
        const message = `no: ${request.headers.authorization}`;
        response
          .writeHead(401, { 'content-type': 'application/json' })
          .end(JSON.stringify({ error: { message, code: -32001, data: { code: 'UNAUTHENTICATED' } } }));
      }),
    );
    await fails({ ...operator, CHAINLOOP_URL: echo.origin }, 'workflow ls');
    await fails({ ...operator, CHAINLOOP_URL: echo.origin }, 'workflow ls --output json');
    const push = await done(job, 'attestation push --key env://RELEASE_KEY --bundle bundle.json --output json');
    const { runId, digest }: { runId: string; digest: string } = JSON.parse(push.stdout);
    const bundle: { dsseEnvelope: { payload: string } } = JSON.parse(await readFile(join(checkout, 'bundle.json'), 'utf8'));
    search('the statement', Buffer.from(bundle.dsseEnvelope.payload, 'base64'));
    assert.ok(Buffer.from(bundle.dsseEnvelope.payload, 'base64').includes('may be seen'));

    // Everything that shows what there is, and what is not there.
    for (const output of ['table', 'json', 'statement', 'attestation'])
      await done(operator, `workflow run describe --id ${runId} --output ${output}`);
    for (const command of [
      'workflow ls',
      'workflow run ls',
      'workflow contract ls',
      'service-account ls',
      'api-token ls',
      'key ls',
      'cas-backend ls',
      'org ls',
      'config view',
    ]) {
      await run(owner, command);
      await run(operator, `${command} --output json`);
    }
    await done(operator, 'attestation verify --bundle bundle.json --key release.pub app.bin');
    await fails(operator, 'attestation verify --bundle bundle.json --key release.key app.bin');
    await fails(operator, `artifact download -d ${digest}`);
    await fails(operator, `workflow run describe --id ${canaries.plant('secret in place of an id')}`);
    await fails(job, 'service-account ls');
    search('the metrics', await (await fetch(`${server.url}/metrics`)).text());
    search('the crafting state after a push', await everyByte(join(line.folder, 'state')));
    search('the configuration', await everyByte(join(line.folder, 'config')), 'owner token');
    if (postgres !== undefined) {
      await breakTokens(database.DATABASE_URL);
      await fails(operator, 'workflow ls');
    }
    await run(operator, 'auth logout');

    await server.stop();
    search('the log of the server', server.said.join('\n'));
    assert.ok(
      server.said.some((text) => text.includes('"level":"debug"')),
      'the server was talkative',
    );
    await fails(
      { DATABASE_URL: `postgres://me:${canaries.plant('password of a database that is not there')}@127.0.0.1:9/x` },
      'server --listen 127.0.0.1:0 --data-dir other',
    );
    await fails({ CHAINLOOP_MASTER_KEY: canaries.plant('master key of the wrong length') }, 'server --listen 127.0.0.1:0 --data-dir other');
    for (const path of await readdir(server.dataDir)) {
      if (path !== 'owner-token') search(`${path} of the data directory`, await everyByte(join(server.dataDir, path)));
    }
    if (postgres !== undefined) search('a dump of the database', dump(postgres.adminUrl, database.DATABASE_URL));

    t.diagnostic(`${canaries.planted} canaries, ${commands} commands, ${canaries.scannedBytes} bytes searched: ${found.length} found`);
    assert.deepEqual(found, []);
  });
}

/** PostgreSQL takes any password here: what counts is that the server has one. */
async function databaseOf(postgres: Postgres | undefined, password: string): Promise<{ readonly DATABASE_URL: string }> {
  return { DATABASE_URL: (await postgres?.createDatabase())?.replace('chainloop@', `chainloop:${password}@`) ?? '' };
}

/** `chainloop server`, as an operator starts it, logging all it can. */
async function startServer(line: Awaited<ReturnType<typeof commandLine>>, env: NodeJS.ProcessEnv) {
  const dataDir = join(line.folder, 'data');
  const args = ['server', '--listen', '127.0.0.1:0', '--data-dir', dataDir, '--allow-private-registries', '--log-level', 'trace'];
  const child = line.start(args, { env });
  const said: string[] = [];
  const { promise: ready, resolve, reject } = Promise.withResolvers<string>();
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on('line', (text) => {
      said.push(text);
      const url = /listens on (http:\S+)/.exec(text)?.[1];
      if (url !== undefined) resolve(url);
    });
  }
  const ended = new Promise<void>((end) => child.once('close', () => end()));
  child.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${said.join('\n')}`)));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
  };
  return { url: await ready, dataDir, said, stop, [Symbol.asyncDispose]: stop };
}

/** Sends uploads to an address that is a credential itself, fails them, and repeats what it was told. */
function chattyRegistry(presigned: string) {
  return createServer((request, response) => {
    request.resume();
    if (request.method === 'POST') {
      response.writeHead(202, { location: `/v2/evidence/blobs/uploads/1?${presigned}` }).end();
      return;
    }
    const errors = [{ code: 'UNKNOWN', message: `failed: ${request.url} for ${request.headers.authorization}`, detail: request.headers }];
    response.writeHead(request.method === 'HEAD' ? 404 : 400, { 'content-type': 'application/json' }).end(JSON.stringify({ errors }));
  });
}

async function everyByte(path: string): Promise<Buffer> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Buffer.concat(await Promise.all((files.length === 0 ? [path] : files).map((file) => readFile(file).catch(() => Buffer.of()))));
}

/** What follows is a defect to the server: every call fails in the database. */
async function breakTokens(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query('alter table tokens rename to vanished');
  await client.end();
}

/** As the superuser: nobody else sees the rows of all organizations. */
function dump(adminUrl: string, databaseUrl: string): Buffer {
  const url = new URL(new URL(databaseUrl).pathname, adminUrl);
  return execFileSync(join(postgresBin() ?? '', 'pg_dump'), [url.href], { maxBuffer: 64 * 1024 * 1024 });
}
