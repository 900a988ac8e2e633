import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Ended } from '../fakes/command-line.ts';
import { listen } from '../fakes/listen.ts';
import { refused, snapshot, startWorkplace, succeeded, type Workplace } from '../fakes/workplace.ts';

// Wrong keys, tokens, ids, runs and addresses: each gets one clear message and the right exit code, and the same job still ends in a success.

const contract = 'schemaVersion: v1\nmaterials:\n  - { type: ARTIFACT, name: binary, output: true }\n';
const hourMs = 60 * 60 * 1000;

let aheadMs = 0;
let work: Workplace;
let other: Awaited<ReturnType<Workplace['plane']['createOrganization']>>;
const job = (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> => work.line.run(args, { env: { ...work.job, ...env } });
const operator = (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> =>
  work.line.run(args, { env: { ...work.operator, ...env } });
const push = ['attestation', 'push'] as const;

before(async () => {
  work = await startWorkplace({ contract, now: () => new Date(Date.now() + aheadMs) });
  other = await work.plane.createOrganization('other');
  await work.write('app.bin', 'the program');
  await work.write('nonsense.pem', 'not a key');
  for (const name of ['stranger', 'locked']) {
    const password = name === 'locked' ? { CHAINLOOP_SIGNING_PASSWORD: 'right horse' } : {};
    succeeded(await operator(['key', 'generate', '--output-key-prefix', name], password));
  }
});
after(() => work[Symbol.asyncDispose]());

const state = () => snapshot(join(work.line.folder, 'state'));
const states = async (): Promise<readonly string[]> => (await work.api.run.list.query({})).items.map((run) => run.state);

async function begin(): Promise<string> {
  const begun: { runId?: string } = JSON.parse(succeeded(await job(['attestation', 'init', '--replace', '--output', 'json'])));
  succeeded(await job(['attestation', 'add', '--name', 'binary', '--value', 'app.bin']));
  return begun.runId ?? (await work.api.run.list.query({ limit: 1 })).items[0]?.id ?? '';
}

const keys: readonly (readonly [what: string, env: NodeJS.ProcessEnv, code: number, says: readonly RegExp[]])[] = [
  ['no key', { CHAINLOOP_SIGNING_KEY: '' }, 2, [/--signing key: there is none/, /--key/, /chainloop key generate/]],
  ['a key that does not exist', { CHAINLOOP_SIGNING_KEY: 'absent.key' }, 2, [/absent\.key/]],
  [
    'a variable that is not set',
    { CHAINLOOP_SIGNING_KEY: 'env://NO_SUCH_KEY' },
    2,
    [/env:\/\/ must name an environment variable that is set, and NO_SUCH_KEY is not/],
  ],
  ['a file that is no key', { CHAINLOOP_SIGNING_KEY: 'nonsense.pem' }, 2, [/nonsense\.pem/, /key/]],
  ['the public key', { CHAINLOOP_SIGNING_KEY: 'release.pub' }, 2, [/release\.pub/, /public|private/]],
  ['a key that nobody trusts', { CHAINLOOP_SIGNING_KEY: 'stranger.key' }, 1, [/trust/, /chainloop key trust/, /nothing was recorded/]],
  ['an encrypted key without its password', { CHAINLOOP_SIGNING_KEY: 'locked.key' }, 2, [/locked\.key/, /CHAINLOOP_SIGNING_PASSWORD/]],
  [
    'an encrypted key with a wrong password',
    { CHAINLOOP_SIGNING_KEY: 'locked.key', CHAINLOOP_SIGNING_PASSWORD: 'wrong horse' },
    2,
    [/locked\.key/, /password/],
  ],
];
test('push with a wrong key is refused, and with the right one the same attestation is finished', async (t) => {
  await begin();
  const before = await state();
  for (const [what, env, code, says] of keys) {
    await t.test(`${what}: ${code}`, async () => {
      refused(await job([...push, '--signing', 'key'], env), code, ...says);
      assert.deepEqual(await state(), before, what);
      assert.deepEqual(await states(), ['initialized']);
    });
  }
  succeeded(await job([...push, '--bundle', 'bundle.json']));
  assert.deepEqual(await states(), ['success']);
});

test('a bundle that was tampered with, or is of another key, does not verify', async () => {
  const text = await readFile(join(work.line.folder, 'bundle.json'), 'utf8');
  const verify = (bundle: string, key: string, ...artifacts: string[]) =>
    work.line.run(['attestation', 'verify', '--bundle', bundle, '--key', key, ...artifacts], {
      env: { CHAINLOOP_URL: 'http://127.0.0.1:1' },
    });
  succeeded(await verify('bundle.json', 'release.pub', 'app.bin'));
  refused(await verify('bundle.json', 'stranger.pub'), 1, /not .*trust|no .*key/);
  const bundle: { dsseEnvelope: { payload: string; signatures: { sig: string }[] } } = JSON.parse(text);
  const payload = Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString().replace('"bedrock"', '"quarry"');
  const changed = { ...bundle, dsseEnvelope: { ...bundle.dsseEnvelope, payload: Buffer.from(payload).toString('base64') } };
  await work.write('changed.json', JSON.stringify(changed));
  refused(await verify('changed.json', 'release.pub'), 1, /signature/);
  await work.write('cut.json', text.slice(0, text.length / 2));
  refused(await verify('cut.json', 'release.pub'), 1, /bundle/);
  await work.write('large.json', Buffer.alloc(9 * 1024 * 1024, ' '));
  refused(await verify('large.json', 'release.pub'), 2, /large\.json is larger than 8388608 bytes/);
  refused(await verify('bundle.json', 'release.pub', 'release.pub'), 1, /release\.pub/, /subject/);
  refused(await verify('absent.json', 'release.pub'), 2, /no such file: absent\.json/);
  refused(await verify('bundle.json', 'nonsense.pem'), 2, /nonsense\.pem/);
});

test('no token, one that is none, an unknown, an expired and a revoked one: each is told apart, with 5', async () => {
  const whoami = (token: string) => operator(['auth', 'whoami'], { CHAINLOOP_TOKEN: token });
  refused(await whoami(''), 5, /no token for http/, /CHAINLOOP_TOKEN/, /chainloop auth login/);
  refused(await whoami('hunter2'), 5, /token/);
  const short = await work.api.apiToken.create.mutate({ name: 'short', expiresInDays: 1 });
  succeeded(await whoami(short.token));
  refused(await whoami(`${short.token.slice(0, -1)}${short.token.endsWith('a') ? 'b' : 'a'}`), 5, /token/);
  aheadMs = 25 * hourMs;
  refused(await whoami(short.token), 5, /expired/);
  aheadMs = 0;
  const stolen = await work.api.apiToken.create.mutate({ name: 'stolen' });
  await work.api.apiToken.revoke.mutate({ id: stolen.id });
  refused(await whoami(stolen.token), 5, /revoked/);
});

test('a job whose token is revoked in the middle goes on with a new one', async () => {
  await begin();
  const before = await state();
  const { items } = await work.api.serviceAccount.list.query({});
  const [{ id } = { id: '' }] = items;
  await work.api.serviceAccount.revoke.mutate({ id });
  refused(await job(push), 5, /revoked/, /push again/);
  refused(await job(['attestation', 'add', '--name', 'binary', '--value', 'release.pub']), 6, /signed already/);
  const token = await work.plane.createServiceAccount(work.api, { workflow: 'release', project: 'bedrock' });
  succeeded(await job(push, { CHAINLOOP_TOKEN: token }));
  assert.ok(Object.keys(before).length > 0);
  assert.deepEqual(await states(), ['success', 'success']);
  work.job.CHAINLOOP_TOKEN = token;
});

test('what belongs to another organization is not found, in the words for what does not exist', async () => {
  await other.api.workflow.create.mutate({ name: 'hidden', project: 'bedrock' });
  const [run] = (await work.api.run.list.query({})).items;
  const digest = `sha256:${'0'.repeat(64)}`;
  const asOther = { CHAINLOOP_TOKEN: other.token };
  const evidence = await work.api.run.describe.query({ id: run?.id ?? '' });
  const own = evidence.attestation?.materials[0]?.digest ?? '';
  const pairs: readonly (readonly [string[], string[]])[] = [
    [
      ['workflow', 'run', 'describe', '--id', run?.id ?? ''],
      ['workflow', 'run', 'describe', '--id', '32f2af08-0839-40f8-9f77-c9f856b87351'],
    ],
    [
      ['artifact', 'download', '-d', own],
      ['artifact', 'download', '-d', digest],
    ],
    [
      ['workflow', 'describe', '--name', 'release', '--project', 'bedrock'],
      ['workflow', 'describe', '--name', 'absent', '--project', 'bedrock'],
    ],
    [
      ['workflow', 'contract', 'describe', '--name', 'release'],
      ['workflow', 'contract', 'describe', '--name', 'absent'],
    ],
    [
      ['org', 'describe', '--organization', 'acme'],
      ['org', 'describe', '--organization', 'absent'],
    ],
  ];
  for (const [theirs, nobodys] of pairs) {
    const [first, second] = [await operator(theirs, asOther), await operator(nobodys, asOther)];
    refused(first, 1, /not found|no such/);
    refused(second, 1);
    const neutral = (ended: Ended) => ended.stderr.replaceAll(/sha256:\w+|[0-9a-f]{8}-[-0-9a-f]{27}|release|acme|absent/g, '…');
    assert.equal(neutral(first), neutral(second));
  }
  refused(await job(['attestation', 'init', '--workflow', 'hidden', '--project', 'bedrock']), 1, /'hidden'/, /not found/);
});

test('a run that was ended elsewhere, or has expired, cannot be pushed any more: 6, and reset clears it', async () => {
  for (const how of ['ended', 'expired'] as const) {
    const id = await begin();
    if (how === 'ended')
      succeeded(await job(['attestation', 'reset', '--trigger', 'failed'], { CHAINLOOP_STATE_DIR: await copyOfState() }));
    else aheadMs = 25 * hourMs;
    refused(await job(push), 6, new RegExp(id), how === 'ended' ? /it has ended \(failed\)/ : /expired/, /chainloop attestation reset/);
    succeeded(await job(['attestation', 'reset']));
    aheadMs = 0;
    refused(await job(push), 2, /no open attestation|NO_CRAFTING|start one with: chainloop attestation init/);
  }
});

test('a control plane that is down, or another web server in its place: 75, and the job goes on when it is back', async () => {
  await begin();
  const sites: readonly (readonly [string, RequestListener])[] = [
    ['a page', (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>welcome</html>')],
    ['a page that is not found', (_, response) => response.writeHead(404, { 'content-type': 'text/html' }).end('<html>no</html>')],
    ['another API', (_, response) => response.writeHead(404, { 'content-type': 'application/json' }).end('{"message":"no"}')],
    ['a redirect', (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()],
    ['a proxy without a server behind', (_, response) => response.writeHead(502, { 'content-type': 'text/html' }).end('<html>bad</html>')],
  ];
  for (const [what, site] of sites) {
    await using server = await listen(createServer(site));
    const ended = await operator(['workflow', 'ls'], { CHAINLOOP_URL: server.origin });
    refused(ended, 75, new RegExp(`control plane ${server.origin}`));
    assert.ok(ended.stderr.length < 400, what);
  }
  const closed = await listen(createServer());
  await closed[Symbol.asyncDispose]();
  refused(await operator(['workflow', 'ls'], { CHAINLOOP_URL: closed.origin }), 75, /the connection was refused; is it running/);
  refused(await operator(['workflow', 'ls'], { CHAINLOOP_URL: 'ftp://x' }), 2, /not http/);
  succeeded(await job(push));
});

/** The same attestation, as another step of the job has it. */
async function copyOfState(): Promise<string> {
  const { cp } = await import('node:fs/promises');
  const copy = join(work.line.folder, 'copy-of-state');
  await cp(join(work.line.folder, 'state'), copy, { recursive: true });
  return copy;
}
