import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { generateKeyPair } from '../../core/adapters/keys.ts';
import { commandLine } from '../fakes/command-line.ts';
import { type ControlPlane, startControlPlane } from '../fakes/control-plane.ts';
import { type Fault, startFaultProxy } from '../fakes/fault-proxy.ts';
import { generator, record, seed, trials } from './reliability.ts';

// What a CI job meets: the network fails at every call, or the job itself is killed. The commands are the user's; so is the remedy: the same again.

let plane: ControlPlane;
let acme: Awaited<ReturnType<ControlPlane['createOrganization']>>;
let token: string;
let keys: Awaited<ReturnType<typeof generateKeyPair>>;

before(async () => {
  plane = await startControlPlane();
  acme = await plane.createOrganization('acme');
  await acme.api.contract.create.mutate({
    name: 'release',
    format: 'yaml',
    body: 'schemaVersion: v1\nmaterials:\n  - { type: ARTIFACT, name: binary, output: true }\n  - { type: STRING, name: commit }\n',
  });
  token = await plane.createServiceAccount(acme.api, { workflow: 'release', project: 'bedrock', contract: 'release' });
  keys = await generateKeyPair();
  await acme.api.key.trust.mutate({ name: 'release', pem: keys.publicKeyPem });
});
after(() => plane[Symbol.asyncDispose]());

const commands = [
  ['attestation', 'init'],
  ['attestation', 'add', '--name', 'binary', '--value', 'app.bin'],
  ['attestation', 'add', '--name', 'commit', '--value', 'deadbeef'],
  ['attestation', 'push'],
] as const;

async function startJob(url: string) {
  const line = await commandLine({
    CHAINLOOP_URL: url,
    CHAINLOOP_TOKEN: token,
    CHAINLOOP_SIGNING_KEY: 'env://RELEASE_KEY',
    RELEASE_KEY: keys.privateKeyPem,
  });
  await writeFile(join(line.folder, 'app.bin'), `content ${line.folder}`);
  return line;
}

async function runs() {
  const { items } = await acme.api.run.list.query({ limit: 100 });
  return items;
}

/** Exactly one run is new since then, and it is a success that verifies. */
async function oneSuccessSince(known: ReadonlySet<string>, what: string): Promise<void> {
  const fresh = (await runs()).filter(({ id }) => !known.has(id));
  assert.deepEqual(
    fresh.map(({ state }) => state),
    ['success'],
    what,
  );
  const { attestation } = await acme.api.run.describe.query({ id: fresh[0]?.id ?? '' });
  assert.equal(attestation?.verified, true, what);
}

const faults: readonly { readonly name: string; readonly fault: Fault; readonly command: number }[] = (
  [
    ['init', 0, { method: 'POST', path: /^\/trpc\/attestation\.init/ }],
    ['the question whether the evidence is there', 1, { method: 'HEAD', path: /\/blobs\/sha256/ }],
    ['the start of the upload', 1, { method: 'POST', path: /\/blobs\/uploads/ }],
    ['the upload', 1, { method: 'PUT', path: /\/blobs\/uploads/ }],
    ['the manifest of the evidence', 1, { method: 'PUT', path: /\/manifests\// }],
    ['push', 3, { method: 'POST', path: /^\/trpc\/attestation\.push/ }],
  ] as const
).flatMap(([name, command, match]) => [
  { name: `${name}, not done`, command, fault: { ...match, type: 'cutRequest', afterBytes: 0 } },
  { name: `${name}, done but the answer lost`, command, fault: { ...match, type: 'loseAnswer' } },
  { name: `${name}, refused with 503`, command, fault: { ...match, type: 'status', status: 503 } },
]);

for (const { name, fault, command } of faults) {
  test(`a connection that is lost at ${name}: the same command again ends in exactly one success`, async (t) => {
    const known = new Set((await runs()).map(({ id }) => id));
    await using proxy = await startFaultProxy({ target: plane.url });
    await using line = await startJob(proxy.origin);
    for (const [index, args] of commands.entries()) {
      if (index === command) proxy.inject(fault);
      let ended = await line.run(args);
      if (index === command && ended.code !== 0) {
        assert.equal(ended.code, 75, ended.stderr);
        assert.match(ended.stderr, /^ERR /m);
        ended = await line.run(args);
      }
      assert.equal(ended.code, 0, `${args.join(' ')}: ${ended.stderr}`);
    }
    assert.ok(
      proxy.requests.some((request) => request.fault !== undefined),
      'the fault took place',
    );
    await oneSuccessSince(known, name);
    assert.equal((await line.run(['attestation', 'status'])).code, 2, 'nothing is left open');
    record(t, {
      fault: name.endsWith('503') ? 'F4' : 'F3',
      what: name.endsWith('503')
        ? 'the control plane answers 503 once at one of six steps of a job'
        : 'the connection to the control plane is lost at one of six steps of a job, before or after it is done',
      trials: 1,
      sees: 'nothing, or exit 75 and what to do; the same command again finishes it',
      stored: 'exactly one success that verifies',
    });
  });
}

test('a job that is killed at any instant: the same command again finishes it, with no second run and no half state', async (t) => {
  const count = trials(8, 200);
  const random = generator(seed);
  let killed = 0;
  for (let trial = 0; trial < count; trial++) {
    const known = new Set((await runs()).map(({ id }) => id));
    await using line = await startJob(plane.url);
    const victim = trial % commands.length;
    for (const [index, args] of commands.entries()) {
      if (index === victim) {
        const child = line.start(args);
        child.stdin?.end();
        child.stdout?.resume();
        child.stderr?.resume();
        const ended = once(child, 'close');
        const timer = setTimeout(() => child.kill('SIGKILL'), 40 + random() * 900);
        const [code]: (number | null)[] = await ended;
        clearTimeout(timer);
        if (code === null) killed++;
        else if (index === commands.length - 1) break;
      }
      const ended = await line.run(index === 0 ? [...args, '--replace'] : args);
      // It may have been done just before the kill: then there is nothing to push, and that is said.
      const done = index === victim && index === commands.length - 1 && ended.code === 2;
      assert.ok(ended.code === 0 || done, `trial ${trial}, ${args.join(' ')}: ${ended.code} ${ended.stderr}`);
    }
    const fresh = (await runs()).filter(({ id }) => !known.has(id));
    assert.equal(fresh.filter(({ state }) => state === 'success').length, 1, `trial ${trial}`);
    assert.ok(
      fresh.every(({ state }) => state === 'success' || state === 'cancelled'),
      `trial ${trial}: ${fresh.map(({ state }) => state).join()}`,
    );
    const left = await readdir(line.env.CHAINLOOP_STATE_DIR ?? '', { recursive: true });
    assert.deepEqual(
      left.filter((file) => file.endsWith('.json')),
      [],
      `trial ${trial}: ${left.join()}`,
    );
  }
  record(t, {
    fault: 'F1',
    what: 'kill -9 of the command line at random instants of init, add and push; then the same command again',
    trials: count,
    sees: 'the same command again finishes it; after a push that was done, that there is nothing to push',
    stored: 'exactly one success that verifies; no second run, no half state, no file left',
    figure: `${killed} were killed before they ended; states corrupt 0, runs duplicated 0, repairs by hand 0`,
    seed,
  });
});
