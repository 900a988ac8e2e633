import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { createApi } from '../../client/api.ts';
import { createRegistryClient } from '../../core/adapters/oci/client.ts';
import type { FetchPolicy } from '../../core/adapters/oci/session.ts';
import { digestOf, hexOf } from '../../core/digest.ts';
import { type ErrorCode, errorTable, isChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { createSecrets } from '../../server/sealing.ts';
import { createRegistryStorage } from '../../server/storage/registry.ts';
import { blobOf, seededBytes } from '../fakes/bytes.ts';
import { startRegistry } from '../fakes/docker-registry.ts';
import { type Fault, type FaultProxy, startFaultProxy } from '../fakes/fault-proxy.ts';
import { startGateway, tokens } from '../fakes/gateway.ts';
import { startKillableServer } from '../fakes/killable-server.ts';
import { startPostgres } from '../fakes/postgres.ts';
import { startTinyRegistry } from '../fakes/tiny-registry.ts';
import { has, needs } from '../needs.ts';
import { generator, isLong, record, seed, trials } from './reliability.ts';

// The whole way of evidence: client, gateway, and the disk or a registry behind it; a fault on either side of the gateway.

const sizeBytes = limits.singleRequestUploadSizeBytes + 2_000_003;
const fast = { baseDelayMs: 4, maxDelayMs: 40 };
const account = { username: 'robot', password: 'robot-password' };
const behinds = ['disk', 'docker-registry', 'a registry that resumes'] as const;

type Timeouts = Pick<FetchPolicy, 'requestTimeoutMs' | 'idleTimeoutMs' | 'commitTimeoutMs'>;
const all = (ms: number): Timeouts => ({ requestTimeoutMs: ms, idleTimeoutMs: ms, commitTimeoutMs: ms });

/** `client → front → gateway → back → registry`; without `back` where the gateway writes to its own disk. */
async function way(behind: (typeof behinds)[number], timeouts = { front: all(3_000), back: all(400) }) {
  await using stack = new AsyncDisposableStack();
  let back: FaultProxy | undefined;
  let tiny: Awaited<ReturnType<typeof startTinyRegistry>> | undefined;
  if (behind !== 'disk') {
    if (behind === 'a registry that resumes') tiny = stack.use(await startTinyRegistry({ account }));
    const { origin } = tiny ?? stack.use(await startRegistry());
    back = stack.use(await startFaultProxy({ target: origin }));
  }
  const storage =
    back &&
    createRegistryStorage({
      client: {
        origin: back.origin,
        repository: 'acme/evidence',
        credentials: tiny === undefined ? { type: 'anonymous' } : { type: 'basic', ...account },
        fetchPolicy: { attempts: 3, ...fast, ...timeouts.back },
        // The token server of the tiny registry names itself, behind the proxy.
        ...(tiny === undefined ? {} : { tokenHosts: [tiny.host] }),
      },
      organizationId: 'acme',
      secrets: createSecrets(randomBytes(32)),
    });
  const gateway = stack.use(await startGateway(storage === undefined ? {} : { storage }));
  const front = stack.use(await startFaultProxy({ target: gateway.origin }));
  const clientOf = (token: string, attempts: number, budgetMs = 20_000) =>
    createRegistryClient({
      origin: front.origin,
      repository: 'acme',
      credentials: { type: 'bearer', token: async () => token },
      fetchPolicy: { ...fast, attempts, budgetMs, ...timeouts.front },
    });
  const resources = stack.move();
  return {
    ...{ gateway, front, back, tiny },
    job: clientOf(tokens.job, 8),
    // The gateway asks to come back in a second: this one does not wait for that.
    hasty: clientOf(tokens.job, 2, 500),
    reader: clientOf(tokens.api, 3),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
type Way = Awaited<ReturnType<typeof way>>;

const uploadsPath = /\/blobs\/uploads\//;
const isVisible = async (at: Way, bytes: Uint8Array) => (await at.gateway.storage.stat(digestOf(bytes))) !== undefined;

async function assertStored(at: Way, bytes: Uint8Array): Promise<void> {
  const pieces: Uint8Array[] = [];
  for await (const piece of (await at.reader.fetchBlob(digestOf(bytes))).body) pieces.push(Buffer.from(piece));
  assert.ok(Buffer.concat(pieces).equals(bytes));
}

for (const behind of behinds) {
  test(`F3: an upload that is cut at any byte goes on there, to ${behind}`, { timeout: 1_200_000 }, async (t) => {
    if (behind === 'docker-registry' && !needs(t, 'docker-registry')) return;
    const random = generator(seed);
    await using at = await way(behind);
    const count = trials(3, 200);
    let cuts = 0;
    let sentBytes = 0;
    for (let trial = 0; trial < count; trial++) {
      const bytes = seededBytes(sizeBytes, `${seed} ${behind} ${trial}`);
      const times = 1 + Math.floor(random() * 3);
      // The first and the last bytes are the ones that are got wrong.
      const edges = [0, 1, sizeBytes - 1];
      const afterBytes = edges[trial] ?? Math.floor(random() * sizeBytes);
      at.front.inject({ type: 'cutRequest', method: 'PATCH', afterBytes: Math.floor(afterBytes / times), times });
      const before = at.front.requests.length;
      const { digest } = await at.job.uploadBlob(blobOf(bytes));
      assert.equal(digest, digestOf(bytes));
      const requests = at.front.requests.slice(before);
      // What has no byte, or one, cannot be told from nothing (`Range: 0-0`), and is begun again.
      const begun = requests.filter(({ method }) => method === 'POST').length;
      assert.ok(begun === 1 || afterBytes < 2 * times, `trial ${trial}: begun ${begun} times`);
      sentBytes += requests.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
      await assertStored(at, bytes);
      cuts += requests.filter((request) => request.fault !== undefined).length;
      at.front.clear();
    }
    assert.deepEqual(at.gateway.errors, []);
    record(t, {
      fault: 'F3',
      what: `connection to the control plane reset after n of ${sizeBytes} bytes, one to three times, storage: ${behind}`,
      trials: count,
      sees: 'nothing; the command takes longer',
      stored: 'the blob, once, verified',
      figure: `${cuts} cuts; bytes on the wire / bytes of the files: ${(sentBytes / (count * sizeBytes)).toFixed(3)}`,
      seed,
    });
  });
}

/** One registry for all of them: what one fault leaves behind must not trouble the next. */
let shared: Way | undefined;
before(async () => {
  if (has('docker-registry')) shared = await way('docker-registry');
});
after(() => shared?.[Symbol.asyncDispose]());

type Expected = 'passes' | ErrorCode;
const always = { times: 1_000_000 };
const rows: readonly {
  readonly fault: string;
  readonly what: string;
  readonly faults: (random: () => number) => readonly Fault[];
  readonly expected: Expected;
  readonly sees: string;
}[] = [
  {
    fault: 'F3',
    what: 'the registry resets the connection after n bytes, once or twice',
    faults: (random) => [
      { type: 'cutRequest', method: 'PATCH', afterBytes: Math.floor(random() * sizeBytes), times: 1 + Math.floor(random() * 2) },
    ],
    expected: 'passes',
    sees: 'nothing; docker-registry has lost the upload, so it begins again',
  },
  {
    fault: 'F3',
    what: 'the registry does each step, and its answer is lost',
    faults: () => ['POST', 'PATCH', 'PUT', 'HEAD'].map((method) => ({ type: 'loseAnswer', method })),
    expected: 'passes',
    sees: 'nothing',
  },
  {
    fault: 'F4',
    what: 'the registry answers 408, 500, 502 or 503 once at each step',
    faults: (random) =>
      ['POST', 'PATCH', 'PUT', 'HEAD'].map((method) => ({
        type: 'status',
        method,
        status: [408, 500, 502, 503][Math.floor(random() * 4)] ?? 500,
      })),
    expected: 'passes',
    sees: 'nothing',
  },
  {
    fault: 'F4',
    what: 'the registry answers 429 with Retry-After: 1',
    faults: () => [{ type: 'status', status: 429, headers: { 'retry-after': '1' }, method: 'POST' }],
    expected: 'passes',
    sees: 'nothing; a second more',
  },
  {
    fault: 'F4',
    what: 'the registry stalls: it takes a request and never answers (timeouts of 0.4 s instead of minutes)',
    faults: (random) => [{ type: 'hang', path: uploadsPath, method: ['POST', 'PATCH', 'PUT'][Math.floor(random() * 3)] ?? 'PATCH' }],
    expected: 'passes',
    sees: 'nothing, after the timeout',
  },
  {
    fault: 'F4',
    what: 'the registry is broken for good (500)',
    faults: () => [{ type: 'status', status: 500, path: uploadsPath, ...always }],
    expected: 'REGISTRY_UNAVAILABLE',
    sees: `exit ${errorTable.REGISTRY_UNAVAILABLE.exit}, REGISTRY_UNAVAILABLE`,
  },
  {
    fault: 'F4',
    what: 'the registry truncates: every request ends after a part of it',
    faults: (random) => [{ type: 'cutRequest', method: 'PATCH', afterBytes: Math.floor(random() * sizeBytes * 0.9), ...always }],
    expected: 'REGISTRY_UNAVAILABLE',
    sees: `exit ${errorTable.REGISTRY_UNAVAILABLE.exit}, REGISTRY_UNAVAILABLE`,
  },
  {
    fault: 'F4',
    what: 'the registry sends an upload to another host',
    faults: () => [
      {
        type: 'status',
        status: 202,
        headers: { location: 'http://192.0.2.1/v2/acme/evidence/blobs/uploads/1' },
        method: 'POST',
        ...always,
      },
    ],
    expected: 'REGISTRY_ERROR',
    sees: `exit ${errorTable.REGISTRY_ERROR.exit}, REGISTRY_ERROR`,
  },
  {
    fault: 'F4',
    what: 'the registry redirects the beginning of an upload to another host',
    faults: () => [{ type: 'status', status: 307, headers: { location: 'http://127.0.0.1:1/' }, method: 'POST', ...always }],
    expected: 'REGISTRY_ERROR',
    sees: `exit ${errorTable.REGISTRY_ERROR.exit}, REGISTRY_ERROR`,
  },
  {
    fault: 'F4',
    what: 'the registry says that it stored another digest',
    faults: () => [
      { type: 'status', status: 201, headers: { 'docker-content-digest': digestOf('other') }, method: 'PUT', path: uploadsPath, ...always },
    ],
    expected: 'DIGEST_MISMATCH',
    sees: `exit ${errorTable.DIGEST_MISMATCH.exit}, DIGEST_MISMATCH`,
  },
];

for (const { fault, what, faults, expected, sees } of rows) {
  test(`${fault}: ${what}: ${expected}, and nothing is visible before it is verified`, { timeout: 1_200_000 }, async (t) => {
    if (!needs(t, 'docker-registry') || shared === undefined) return;
    const random = generator(seed);
    const at = shared;
    const count = trials(1, 50);
    for (let trial = 0; trial < count; trial++) {
      const bytes = seededBytes(sizeBytes, `${seed} ${what} ${trial}`);
      const client = expected === 'passes' ? at.job : at.hasty;
      at.back?.inject(...faults(random));
      const before = at.back?.requests.length ?? 0;
      const ended = await client.uploadBlob(blobOf(bytes)).catch((error: unknown) => error);
      assert.ok(
        at.back?.requests.slice(before).some((request) => request.fault !== undefined),
        'the fault took place',
      );
      at.back?.clear();
      if (expected === 'passes') assert.ok(!(ended instanceof Error), String(ended));
      else {
        assert.ok(isChainloopError(ended, expected), String(ended));
        assert.equal(await isVisible(at, bytes), false);
        await at.job.uploadBlob(blobOf(bytes));
      }
      await assertStored(at, bytes);
    }
    assert.deepEqual(at.gateway.errors, []);
    const stored = expected === 'passes' ? 'the blob, once, verified' : 'nothing; the same command stores it when the fault is over';
    record(t, { fault, what, trials: count, sees, stored, seed });
  });
}

// In CI everything is thirty times as fast as in the world: the link, and the limits of the product.
const haste = isLong ? 1 : 30;
const { requestTimeoutMs, idleTimeoutMs, commitTimeoutMs } = limits;
const hasty: Timeouts = {
  requestTimeoutMs: requestTimeoutMs / haste,
  idleTimeoutMs: idleTimeoutMs / haste,
  commitTimeoutMs: commitTimeoutMs / haste,
};
const slow = { bytesPerSecond: 10_000 * haste, sizeBytes: isLong ? 1_500_000 : 750_000 };
for (const [link, behind] of [
  ['to the control plane', 'disk'],
  ['to the registry', 'docker-registry'],
] as const) {
  test(`F4: a link ${link} that is slow but not silent is waited for, there and back`, { timeout: 1_800_000 }, async (t) => {
    if (behind === 'docker-registry' && !needs(t, 'docker-registry')) return;
    await using at = await way(behind, { front: hasty, back: hasty });
    const bytes = seededBytes(slow.sizeBytes, `${seed} slow ${link}`);
    const proxy = at.back ?? at.front;
    proxy.inject({ type: 'slow', bytesPerSecond: slow.bytesPerSecond, ...always });
    const startedAt = performance.now();
    await at.job.uploadBlob(blobOf(bytes));
    const sentAt = performance.now();
    await assertStored(at, bytes);
    const [upMs, downMs] = [sentAt - startedAt, performance.now() - sentAt];
    for (const ms of [upMs, downMs]) assert.ok(ms > hasty.idleTimeoutMs, `${ms} ms: the link was not slow`);
    assert.ok(proxy.bodyBytes() <= slow.sizeBytes * 1.01, `${proxy.bodyBytes()} bytes were sent, some of them twice`);
    assert.deepEqual(at.gateway.errors, []);
    const asIfs = isLong ? '' : ' (all of it thirty times as fast)';
    record(t, {
      fault: 'F4',
      what: `the link ${link} takes 10 KB/s, so that a transfer takes longer than any timeout but that of a commit${asIfs}`,
      trials: 1,
      sees: 'progress, slowly: only silence ends a transfer',
      stored: 'the blob, once, verified; no byte is sent twice',
      figure: `${slow.sizeBytes} bytes: ${(upMs / 1000).toFixed(1)} s up, ${(downMs / 1000).toFixed(1)} s down`,
      seed,
    });
  });
}

test('F5: the token of the registry expires at any step: it is renewed, and the upload goes on', { timeout: 1_200_000 }, async (t) => {
  await using at = await way('a registry that resumes');
  const count = trials(2, 100);
  const random = generator(seed);
  for (let trial = 0; trial < count; trial++) {
    const bytes = seededBytes(sizeBytes, `${seed} token ${trial}`);
    const expireAt = Math.floor(random() * sizeBytes);
    const sold = at.tiny?.tokenRequests.length ?? 0;
    let isExpired = false;
    await at.job.uploadBlob(blobOf(bytes), {
      onProgress(sentBytes) {
        if (isExpired || sentBytes < expireAt) return;
        isExpired = true;
        at.tiny?.expireTokens();
      },
    });
    assert.ok(isExpired && (at.tiny?.tokenRequests.length ?? 0) - sold <= 2, 'one renewal for each 401');
    await assertStored(at, bytes);
  }
  record(t, {
    fault: 'F5',
    what: 'the registry answers 401 in the middle of an upload (its token has expired)',
    trials: count,
    sees: 'nothing',
    stored: 'the blob, once, verified',
    seed,
  });
});

test('F5: the registry refuses its credentials for good: REGISTRY_UNAUTHORIZED at once', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  if (shared === undefined) return;
  const at = shared;
  const bytes = seededBytes(sizeBytes, 'refused');
  at.back?.inject({ type: 'status', status: 401, ...always });
  await assert.rejects(at.job.uploadBlob(blobOf(bytes)), (error) => isChainloopError(error) && error.code.startsWith('REGISTRY_'));
  at.back?.clear();
  assert.equal(await isVisible(at, bytes), false);
});

test('F4: bytes that the registry changed or cut short are never handed out', { timeout: 1_200_000 }, async (t) => {
  if (!needs(t, 'docker-registry')) return;
  if (shared === undefined) return;
  const at = shared;
  const bytes = seededBytes(sizeBytes, 'read back');
  await at.job.uploadBlob(blobOf(bytes));
  const random = generator(seed);
  const count = trials(4, 100);
  for (let trial = 0; trial < count; trial++) {
    const isLie = trial % 2 === 0;
    const path = /\/blobs\/sha256/;
    at.back?.inject(
      isLie
        ? { type: 'corruptResponse', method: 'GET', path, ...always }
        : { type: 'cutResponse', method: 'GET', path, afterBytes: Math.floor(random() * sizeBytes) },
    );
    if (isLie) {
      await assert.rejects(async () => {
        for await (const _ of (await at.reader.fetchBlob(digestOf(bytes))).body);
      });
    } else await assertStored(at, bytes);
    at.back?.clear();
  }
  await assertStored(at, bytes);
  record(t, {
    fault: 'F4',
    what: 'a download whose bytes the registry changes (every second one), or breaks off after n bytes',
    trials: count,
    sees: 'changed: an error; broken off: nothing',
    stored: 'as before; whole and verified afterwards',
    seed,
  });
});

test('F6: the control plane is killed in the middle of an upload: when it is back the upload goes on at its byte', {
  timeout: 1_200_000,
}, async (t) => {
  // It is up again sooner than the embedded database.
  if (!needs(t, 'postgresql')) return;
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-killed-upload-'));
  await using postgres = await startPostgres();
  const options = { dataDir: folder.path, databaseUrl: postgres.url };
  await using stack = new AsyncDisposableStack();
  let server = await startKillableServer(options);
  stack.defer(() => server[Symbol.asyncDispose]());
  const { url, ownerToken } = server;
  await createApi({ url, token: ownerToken }).organization.create.mutate({ name: 'acme' });
  const client = createRegistryClient({
    origin: url,
    repository: 'acme',
    credentials: { type: 'bearer', token: async () => ownerToken },
    fetchPolicy: { attempts: Number.POSITIVE_INFINITY, baseDelayMs: 50, maxDelayMs: 500 },
  });
  const random = generator(seed);
  const count = trials(1, 30);
  const killedBytes = trials(1, 4) * sizeBytes;
  let sentAgain = 0;
  const wentOnAt: number[] = [];
  for (let trial = 0; trial < count; trial++) {
    const bytes = seededBytes(killedBytes, `${seed} killed ${trial}`);
    // So late that some of it is on the disk: what was only on its way is gone, and an upload without a byte begins again.
    const killAt = (0.6 + 0.3 * random()) * bytes.byteLength;
    let restarted: Promise<void> | undefined;
    let last = 0;
    const { digest } = await client.uploadBlob(blobOf(bytes), {
      onProgress(sentBytes) {
        // The first piece after the break: it went on somewhere in front of what it had sent.
        if (sentBytes < last) {
          sentAgain += last - sentBytes;
          wentOnAt.push(sentBytes);
        }
        last = sentBytes;
        if (sentBytes < killAt) return;
        restarted ??= (async () => {
          await server.stop('SIGKILL');
          server = await startKillableServer({ ...options, listen: new URL(url).host });
        })();
      },
    });
    await restarted;
    assert.equal(digest, digestOf(bytes));
    assert.deepEqual(await client.headBlob(digest), { sizeBytes: bytes.byteLength });
  }
  client.close();
  assert.ok(
    wentOnAt.every((offset) => offset > 0),
    'it is not begun again',
  );
  record(t, {
    fault: 'F6',
    what: `kill -9 of the control plane after 60 to 90 % of ${killedBytes} bytes were sent to its disk, back in seconds`,
    trials: count,
    sees: 'nothing; it goes on from what is on the disk',
    stored: 'the blob, once, verified; nothing is visible before',
    figure: `sent again: ${((sentAgain / (count * killedBytes)) * 100).toFixed(1)} % of the bytes; never from the beginning`,
    seed,
  });
});

// A peer, in the long form.
const besideSkopeo = async (t: TestContext) => {
  if (!needs(t, 'skopeo', 'docker-registry')) return;
  await using registry = await startRegistry();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-skopeo-'));
  const blob = seededBytes(sizeBytes, 'skopeo');
  const config = Buffer.from('{}');
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: 2 },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digestOf(blob), size: sizeBytes }],
    }),
  );
  const blobs = join(folder.path, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  for (const bytes of [blob, config, manifest]) await writeFile(join(blobs, hexOf(digestOf(bytes))), bytes);
  await writeFile(join(folder.path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const entry = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: digestOf(manifest), size: manifest.length };
  const tagged = { ...entry, annotations: { 'org.opencontainers.image.ref.name': 'v1' } };
  await writeFile(join(folder.path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [tagged] }));
  const peers: readonly (readonly [string, string, Fault])[] = [
    ['F3', 'one reset in the middle of the blob', { type: 'cutRequest', method: 'PATCH', afterBytes: Math.floor(sizeBytes / 2) }],
    ['F4', 'one 500 as the blob begins', { type: 'status', status: 500, method: 'POST' }],
  ];
  const count = 5;
  for (const [fault, what, injected] of peers) {
    let passed = 0;
    let met = 0;
    for (let trial = 0; trial < count; trial++) {
      await using proxy = await startFaultProxy({ target: registry.origin, faults: [injected] });
      const options = ['--quiet', '--insecure-policy', '--dest-tls-verify=false', '--retry-times', '3'];
      const target = `docker://${proxy.host}/peer${trial}-${fault.toLowerCase()}:v1`;
      const ended = await promisify(execFile)('skopeo', ['copy', ...options, `oci:${folder.path}:v1`, target]).catch(() => undefined);
      const isMet = proxy.requests.some((request) => request.fault !== undefined);
      if (isMet) met++;
      if (isMet && ended !== undefined) passed++;

      await using own = await startFaultProxy({ target: registry.origin, faults: [injected] });
      const client = createRegistryClient({ origin: own.origin, repository: `ours${trial}-${fault.toLowerCase()}`, fetchPolicy: fast });
      const { digest } = await client.uploadBlob(blobOf(blob));
      assert.ok(
        own.requests.some((request) => request.fault !== undefined),
        'the fault took place',
      );
      assert.deepEqual(await client.headBlob(digest), { sizeBytes });
      client.close();
    }
    const peer = `skopeo copy --retry-times 3: ${passed} of the ${met} that met the fault get through`;
    record(t, { fault, what: `${what}, directly to docker-registry`, trials: count, sees: 'nothing', stored: 'the blob', peer });
  }
};
if (isLong) test('F3, F4: what skopeo does with one reset, and one 500', besideSkopeo);
