import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fakeControlPlane } from '../test/fakes/memory-control-plane.ts';
import { createCraftingStore } from './adapters/crafting-store.ts';
import { files } from './adapters/files.ts';
import { generateKeyPair, loadSigner } from './adapters/keys.ts';
import { type AddOptions, add, type InitOptions, init, push, reset, status } from './attestation.ts';
import { Contract } from './contract/schema.ts';
import { digestOf, parseDigest } from './digest.ts';
import { ChainloopError, type ErrorCode } from './errors.ts';
import { parseStatement } from './statement.ts';
import { verifyBundle } from './verify.ts';

const root = mkdtempSync(join(tmpdir(), 'chainloop-attestation-'));
after(() => rmSync(root, { recursive: true, force: true }));
const file = (name: string, text: string): string => {
  writeFileSync(join(root, name), text);
  return join(root, name);
};

const own = await generateKeyPair();
const other = await generateKeyPair();
const env = { KEY: own.privateKeyPem, OTHER: other.privateKeyPem };
const signer = await loadSigner('env://KEY', { env });
const otherSigner = await loadSigner('env://OTHER', { env });
const trusted = { name: 'release', pem: own.publicKeyPem };
const imageDigest = digestOf('an image');
const builderId = `chainloop.dev/cli/0.1.0@${digestOf('cli')}`;

const releaseContract = Contract.parse({
  materials: [
    { type: 'STRING', name: 'commit' },
    { type: 'ARTIFACT', name: 'binary', output: true },
    { type: 'CONTAINER_IMAGE', name: 'image', output: true },
    { type: 'EVIDENCE', name: 'notes', optional: true, skipUpload: true, annotations: [{ name: 'stage', value: 'build' }] },
  ],
  envAllowList: ['CUSTOM_VAR'],
  runner: { type: 'GITHUB_ACTION' },
});
const ci = {
  GITHUB_ACTIONS: 'true',
  GITHUB_RUN_ID: '1',
  GITHUB_SHA: 'abc',
  CUSTOM_VAR: 'value',
  CHAINLOOP_TOKEN: 'chl_secret',
  OTHER: 'x',
};
const head = { commit: 'a'.repeat(40), remotes: [] };

let count = 0;
/** A job with real files, a real state folder and a real key, and a control plane that behaves. */
function aJob(options: { readonly contract?: Contract; readonly now?: () => Date } = {}) {
  const now = options.now ?? (() => new Date('2026-11-23T08:00:00Z'));
  const plane = fakeControlPlane({ contract: options.contract ?? releaseContract, keys: [trusted], now });
  const directory = join(root, `state${++count}`);
  const store = createCraftingStore(directory);
  const ports = {
    store,
    controlPlane: plane.controlPlane,
    evidence: plane.store,
    files,
    git: { head: async () => head },
    images: {
      resolve: async (reference: string) => {
        if (reference !== 'ghcr.io/acme/app:v1') throw new ChainloopError('IMAGE_NOT_FOUND', `image ${reference}: not found`);
        return { repository: 'ghcr.io/acme/app', tag: 'v1', digest: imageDigest, mediaType: 'application/vnd.oci.image.index.v1+json' };
      },
    },
    signer,
    now,
    newId: () => `id-${++count}`,
  };
  const initOptions: InitOptions = {
    from: { type: 'controlPlane', origin: 'http://127.0.0.1:8080', workflow: 'release', project: 'bedrock' },
    env: ci,
    directory: root,
  };
  return {
    plane,
    store,
    ports,
    directory,
    init: (changes: Partial<InitOptions> = {}) => init(ports, { ...initOptions, ...changes }),
    add: (name: string, value: string, more: Partial<AddOptions> = {}) => add(ports, { name, value, ...more }),
    status: () => status(ports),
    push: (changes: Partial<typeof ports> = {}) => push({ ...ports, ...changes }, { builderId }),
    reset: () => reset(ports, { state: 'cancelled', reason: 'test' }),
  };
}
type Job = ReturnType<typeof aJob>;
const binary = file('server.tar', 'the binary');
async function addAll(job: Job): Promise<void> {
  await job.add('commit', 'deadbeef');
  await job.add('binary', binary);
  await job.add('image', 'ghcr.io/acme/app:v1');
}
async function ready(): Promise<Job> {
  const job = aJob();
  await job.init();
  await addAll(job);
  return job;
}
const fails = (promise: Promise<unknown>, code: ErrorCode, message: RegExp = /./) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof ChainloopError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });

test('init, add and push end in one successful run, whose bundle anybody with the key can verify', async () => {
  const job = await ready();
  const pushed = await job.push();
  assert.ok(pushed.type === 'pushed');
  assert.deepEqual(job.plane.states(), ['success']);
  const statement = parseStatement(verifyBundle(pushed.bundle, { type: 'keys', keys: [trusted] }).payload);
  assert.equal(statement.predicate.metadata.workflowRunID, pushed.runId);
  assert.deepEqual(
    statement.subject.map((subject) => subject.name),
    ['git.head', 'server.tar', 'ghcr.io/acme/app'],
  );
  assert.deepEqual([...job.plane.evidence.keys()], [digestOf('the binary')]);
  await fails(job.status(), 'NO_CRAFTING');
});

test('init records the variables that the contract allows and those of the runner, and nothing else', async () => {
  const { start } = await aJob().init();
  assert.deepEqual(start.env, { CUSTOM_VAR: 'value', GITHUB_RUN_ID: '1', GITHUB_SHA: 'abc' });
  assert.deepEqual(start.head, head);
});

// init
test('an init that fails after opening a run cancels it at once (lessons.md, 19)', async () => {
  const job = aJob();
  await fails(job.init({ env: { ...ci, CUSTOM_VAR: undefined } }), 'CONTRACT_NOT_SATISFIED', /'CUSTOM_VAR'/);
  assert.deepEqual(job.plane.states(), ['cancelled']);
  assert.match(job.plane.reasons()[0] ?? '', /CUSTOM_VAR/);
  await job.init();
  assert.deepEqual(job.plane.states(), ['cancelled', 'initialized']);
});

test('an init on another runner than the contract asks for is refused, with everything else that is wrong (lessons.md, 17)', async () => {
  const job = aJob();
  await assert.rejects(job.init({ env: {}, annotations: { extra: '1' } }), (error) => {
    assert.ok(error instanceof ChainloopError);
    assert.equal(error.code, 'RUNNER_MISMATCH');
    assert.equal(error.problems.length, 3);
    return true;
  });
});

test('while an attestation is open here, another one is refused, unless it is to replace it', async () => {
  const job = aJob();
  await job.init();
  await fails(job.init(), 'CRAFTING_OPEN', /attestation reset/);
  assert.deepEqual(job.plane.states(), ['initialized']);
  await job.init({ replace: true });
  assert.deepEqual(job.plane.states(), ['cancelled', 'initialized']);
});

test('an init whose answer was lost goes on with the run that it opened', async () => {
  const job = aJob();
  job.plane.breakNext('init', 'after');
  await fails(job.init(), 'CONTROL_PLANE_UNREACHABLE');
  await job.init({ replace: true });
  assert.deepEqual(job.plane.states(), ['initialized']);
});

test('a state that cannot be read can be replaced', async () => {
  const job = await ready();
  writeFileSync(join(job.directory, 'start.json'), '{');
  await fails(job.init(), 'STATE_CORRUPT');
  await job.init({ replace: true });
  assert.deepEqual((await job.status()).materials, []);
});

test('an init that crashed long ago does not get its old run', async () => {
  const job = aJob();
  job.plane.breakNext('init', 'after');
  await fails(job.init(), 'CONTROL_PLANE_UNREACHABLE');
  job.plane.expire();
  await job.init();
  assert.deepEqual(job.plane.states(), ['expired', 'initialized']);
});

test('two attestations of one job, one after the other, are two runs', async () => {
  const job = await ready();
  await job.push();
  await job.init();
  assert.deepEqual(job.plane.states(), ['success', 'initialized']);
});

// add
test('a material that the contract does not have is refused, with the nearest name', async () => {
  const job = aJob();
  await job.init();
  await fails(job.add('binray', binary), 'MATERIAL_UNKNOWN', /did you mean 'binary'/);
});

test('a mistyped file name does not become a STRING (lessons.md, 11)', async () => {
  const job = aJob();
  await job.init();
  await fails(job.add('binary', './no/such/file'), 'FILE_NOT_FOUND', /no such file: \.\/no\/such\/file; to record text use --kind STRING/);
  assert.deepEqual((await job.status()).materials, []);
});

test('a kind that is given must be the one that the contract asks for', async () => {
  const job = aJob();
  await job.init();
  await fails(job.add('binary', 'text', { kind: 'STRING' }), 'MATERIAL_KIND_MISMATCH', /asks for ARTIFACT/);
  await job.add('binary', binary, { kind: 'ARTIFACT' });
});

const badValues = [
  ['an empty text', 'commit', '', 'USAGE'],
  ['a text that is too long', 'commit', 'x'.repeat(16 * 1024 + 1), 'LIMIT_EXCEEDED'],
  ['half of a surrogate pair', 'commit', '\ud800', 'USAGE'],
  ['a directory', 'binary', root, 'FILE_UNREADABLE'],
  ['an empty file', 'binary', file('empty', ''), 'FILE_EMPTY'],
  ['an image that is not there', 'image', 'ghcr.io/acme/app:v2', 'IMAGE_NOT_FOUND'],
] as const;
for (const [what, name, value, code] of badValues) {
  test(`${what} is no evidence: ${code}, and nothing is recorded`, async () => {
    const job = aJob();
    await job.init();
    await fails(job.add(name, value), code, new RegExp(`material '${name}'`));
    assert.deepEqual((await job.status()).materials, []);
    assert.equal(job.plane.evidence.size, 0);
  });
}

test('a text that is also the name of a file is recorded as text', async () => {
  const job = aJob();
  await job.init();
  assert.equal((await job.add('commit', binary)).material.value, binary);
});

test('evidence that the contract keeps out of storage is measured, and not uploaded', async () => {
  const job = aJob();
  await job.init();
  const { material } = await job.add('notes', binary);
  assert.deepEqual(material, {
    name: 'notes',
    type: 'EVIDENCE',
    digest: digestOf('the binary'),
    fileName: 'server.tar',
    sizeBytes: 10,
    uploaded: false,
    annotations: { stage: 'build' },
  });
  assert.equal(job.plane.evidence.size, 0);
});

test('an annotation that the contract does not have is refused before anything is uploaded', async () => {
  const job = aJob();
  await job.init();
  await fails(job.add('binary', binary, { annotations: { a: '1' } }), 'CONTRACT_NOT_SATISFIED', /no annotation 'a'/);
  await fails(job.add('notes', binary, { annotations: { stage: 'test' } }), 'CONTRACT_NOT_SATISFIED', /must be 'build'/);
  assert.equal(job.plane.evidence.size, 0);
});

test('adding again replaces other content, and says so', async () => {
  const job = aJob();
  await job.init();
  assert.equal((await job.add('commit', 'a')).replaced, false);
  assert.equal((await job.add('commit', 'a')).replaced, false);
  assert.equal((await job.add('commit', 'b')).replaced, true);
  assert.deepEqual(
    (await job.status()).materials.map((material) => material.value),
    ['b'],
  );
});

test('materials that are added at the same time are all part of the attestation (lessons.md, 16)', async () => {
  const names = Array.from({ length: 20 }, (_, index) => `m${index}`);
  const job = aJob({ contract: Contract.parse({ materials: names.map((name) => ({ type: 'STRING', name })) }) });
  await job.init();
  await Promise.all(names.map((name) => job.add(name, name)));
  const pushed = await job.push();
  assert.ok(pushed.type === 'pushed');
  const statement = parseStatement(verifyBundle(pushed.bundle, { type: 'keys', keys: [trusted] }).payload);
  assert.equal(statement.predicate.materials.length, 20);
});

test('an SBOM of another kind is refused by what is in it, and nothing is uploaded', async () => {
  const job = aJob({ contract: Contract.parse({ materials: [{ type: 'SBOM_CYCLONEDX_JSON', name: 'sbom' }] }) });
  await job.init();
  const spdx = file('spdx.json', JSON.stringify({ spdxVersion: 'SPDX-2.3' }));
  await fails(job.add('sbom', spdx), 'MATERIAL_KIND_MISMATCH', /material 'sbom': spdx.json: found .*SPDX.*; wanted CycloneDX/);
  assert.equal(job.plane.evidence.size, 0);
  const cyclonedx = { bomFormat: 'CycloneDX', specVersion: '1.5', version: 1, components: [{ type: 'library', name: 'a' }] };
  const { material, summary } = await job.add('sbom', file('sbom.json', JSON.stringify(cyclonedx)));
  assert.equal(material.uploaded, true);
  assert.notDeepEqual(summary, {});
});

// status
test('status says what is there, what is required, and everything that is missing', async () => {
  const job = aJob();
  await job.init();
  await job.add('binary', binary);
  const { checklist, problems, sealed } = await job.status();
  assert.deepEqual(checklist, [
    { name: 'commit', type: 'STRING', set: false, required: true, output: false },
    { name: 'binary', type: 'ARTIFACT', set: true, required: true, output: true, value: `server.tar@${digestOf('the binary')}` },
    { name: 'image', type: 'CONTAINER_IMAGE', set: false, required: true, output: true },
    { name: 'notes', type: 'EVIDENCE', set: false, required: false, output: false },
  ]);
  assert.deepEqual(
    problems.map((problem) => problem.message),
    [
      "material 'commit' is required; add it with: chainloop attestation add --name commit --value <text>",
      "material 'image' is required; add it with: chainloop attestation add --name image --value <image>",
    ],
  );
  assert.equal(sealed, false);
});

// push
test('a required material that is missing stops push, and the attestation goes on', async () => {
  const job = aJob();
  await job.init();
  await fails(job.push(), 'CONTRACT_NOT_SATISFIED', /3 problems/);
  await addAll(job);
  await job.push();
  assert.deepEqual(job.plane.states(), ['success']);
});

test('a push without a key is refused before anything is sent', async () => {
  const job = await ready();
  await fails(push({ ...job.ports, signer: undefined }, { builderId }), 'USAGE', /--key/);
  assert.equal((await job.status()).sealed, false);
});

for (const when of ['before', 'after'] as const) {
  test(`a push that breaks ${when} its effect is repeated with the same bytes, and ends in one success`, async () => {
    const job = await ready();
    job.plane.breakNext('push', when);
    await fails(job.push(), 'CONTROL_PLANE_UNREACHABLE', /the same bytes are sent/);
    const kept = await job.store.sealed();
    assert.ok(kept !== undefined);
    assert.equal((await job.status()).sealed, true);
    await fails(job.add('commit', 'other'), 'CRAFTING_SEALED', /attestation push/);
    // The key is not needed again.
    const pushed = await push({ ...job.ports, signer: undefined }, { builderId });
    assert.ok(pushed.type === 'pushed');
    assert.equal(pushed.bundle, kept);
    assert.deepEqual(job.plane.states(), ['success']);
    await fails(job.status(), 'NO_CRAFTING');
  });
}

test('a push that is killed after the answer finds its work done', async () => {
  const job = await ready();
  // As if the process had ended before it could forget the crafting.
  const remembered = { ...job.store, remove: async () => undefined };
  await job.push({ store: remembered });
  assert.equal((await job.push()).type, 'pushed');
  assert.deepEqual(job.plane.states(), ['success']);
});

test('a push by a key that nobody trusts is refused, and can be signed again by another', async () => {
  const job = await ready();
  await fails(job.push({ signer: otherSigner }), 'SIGNER_UNTRUSTED', /push again/);
  assert.equal((await job.status()).sealed, false);
  await job.push();
  assert.deepEqual(job.plane.states(), ['success']);
});

test('a push whose evidence has gone from storage can be mended by adding it again', async () => {
  const job = await ready();
  job.plane.evidence.clear();
  await fails(job.push(), 'EVIDENCE_MISSING');
  await job.add('binary', binary);
  await job.push();
  assert.deepEqual(job.plane.states(), ['success']);
});

for (const code of ['TOKEN_EXPIRED', 'RATE_LIMITED', 'INTERNAL', 'STORAGE_UNAVAILABLE'] as const) {
  test(`a push that fails with ${code} keeps the signed bytes: an earlier one may have arrived`, async () => {
    const job = await ready();
    job.plane.breakNext('push', 'after');
    await fails(job.push(), 'CONTROL_PLANE_UNREACHABLE');
    job.plane.breakNext('push', 'before', code);
    await fails(job.push(), code);
    await job.push();
    assert.deepEqual(job.plane.states(), ['success']);
  });
}

test('a push to a run that has expired says so, and reset forgets it', async () => {
  const job = await ready();
  job.plane.expire();
  await fails(job.push(), 'RUN_EXPIRED', /attestation reset/);
  assert.equal((await job.reset()).ended, false);
  await job.init();
  assert.deepEqual(job.plane.states(), ['expired', 'initialized']);
});

test('a signer that signs something else is found out before anything is sent', async () => {
  const job = await ready();
  const liar = { sign: async () => signer.sign(Buffer.from('something else')) };
  await fails(job.push({ signer: liar }), 'SIGNATURE_INVALID');
  assert.equal(await job.store.sealed(), undefined);
  assert.deepEqual(job.plane.states(), ['initialized']);
});

test('a material that is added while push signs is in the attestation, or is refused', async () => {
  const job = await ready();
  let once = true;
  const slow = {
    sign: async (bytes: Uint8Array) => {
      if (once) await job.add('notes', binary);
      once = false;
      return signer.sign(bytes);
    },
  };
  const pushed = await job.push({ signer: slow });
  assert.ok(pushed.type === 'pushed');
  const statement = parseStatement(verifyBundle(pushed.bundle, { type: 'keys', keys: [trusted] }).payload);
  assert.equal(statement.predicate.materials.length, 4);
});

// reset
test('reset ends the run with its reason, and forgets the attestation here', async () => {
  const job = await ready();
  const answer = await job.reset();
  assert.equal(answer.ended, true);
  assert.deepEqual([job.plane.states(), job.plane.reasons()], [['cancelled'], ['test']]);
  await fails(job.reset(), 'NO_CRAFTING');
});

test('a failed attestation keeps why it ended (lessons.md, 23)', async () => {
  const job = await ready();
  await reset(job.ports, { state: 'failed', reason: 'tests are red' });
  assert.deepEqual([job.plane.states(), job.plane.reasons()], [['failed'], ['tests are red']]);
});

test('reset forgets the attestation also when the control plane has ended it', async () => {
  const job = await ready();
  job.plane.expire();
  assert.equal((await job.reset()).ended, false);
  await fails(job.status(), 'NO_CRAFTING');
});

test('reset without a control plane changes nothing, and can be repeated', async () => {
  const job = await ready();
  job.plane.breakNext('end', 'before');
  await fails(job.reset(), 'CONTROL_PLANE_UNREACHABLE');
  assert.equal((await job.status()).materials.length, 3);
  await job.reset();
});

test('reset forgets a state that cannot be read', async () => {
  const job = await ready();
  writeFileSync(join(job.directory, 'start.json'), '{');
  await fails(job.push(), 'STATE_CORRUPT', /attestation reset/);
  await job.reset();
  await fails(job.status(), 'NO_CRAFTING');
});

test('a name that no statement can carry is refused with its place, not with a crash', async () => {
  const job = aJob();
  await job.init({ from: { ...dryRun, workflow: 'w'.repeat(300) } });
  await addAll(job);
  await fails(job.push(), 'STATEMENT_INVALID');
});

// dry run
const dryRun = { type: 'dryRun', contract: { ...releaseContract, runner: undefined }, workflow: 'release' } as const;
test('a dry run needs no control plane, and records nothing anywhere (lessons.md, 24)', async () => {
  const job = aJob();
  const offline = async (): Promise<never> => {
    throw new Error('a dry run must not ask the control plane');
  };
  const ports = { ...job.ports, controlPlane: { init: offline, push: offline, end: offline }, evidence: { upload: offline } };
  await init(ports, { from: dryRun, env: { CUSTOM_VAR: 'x' }, directory: root });
  await add(ports, { name: 'commit', value: 'deadbeef' });
  await add(ports, { name: 'binary', value: binary });
  await add(ports, { name: 'image', value: 'ghcr.io/acme/app:v1' });
  const result = await push({ ...ports, signer: undefined }, { builderId });
  assert.ok(result.type === 'dryRun');
  assert.equal(result.bundle, undefined);
  const { metadata } = parseStatement(result.statement).predicate;
  assert.equal(metadata.workflowRunID, undefined);
  assert.equal(metadata.workflowName, 'release');
  await fails(job.status(), 'NO_CRAFTING');
});

test('a dry run that is given a key is signed', async () => {
  const job = aJob();
  await job.init({ from: dryRun });
  await addAll(job);
  const result = await job.push();
  assert.ok(result.type === 'dryRun' && result.bundle !== undefined);
  assert.deepEqual(verifyBundle(result.bundle, { type: 'keys', keys: [trusted] }).payload, result.statement);
});

test('a dry run is refused for what a run would be refused for', async () => {
  const job = aJob();
  await fails(job.init({ from: { ...dryRun, contract: releaseContract }, env: { CUSTOM_VAR: 'x' } }), 'RUNNER_MISMATCH');
  await job.init({ from: dryRun });
  await fails(job.push(), 'CONTRACT_NOT_SATISFIED');
});

test('two jobs on one machine attest side by side (lessons.md, 9)', async () => {
  const jobs = [await ready(), await ready()];
  mkdirSync(join(root, 'apart'), { recursive: true });
  const pushed = await Promise.all(jobs.map((job) => job.push()));
  assert.equal(new Set(pushed.map((result) => result.type === 'pushed' && result.runId)).size, 2);
});

test('what is resolved is the digest, never the tag alone', async () => {
  const job = await ready();
  const image = (await job.status()).materials.find((material) => material.name === 'image');
  assert.equal(image?.digest, parseDigest(imageDigest));
  assert.equal(image?.tag, 'v1');
});
