import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { digestOf, hexOf } from '../../core/digest.ts';
import { databaseKinds } from '../databases.ts';
import { startRegistry } from '../fakes/docker-registry.ts';
import { type Fault, startFaultProxy } from '../fakes/fault-proxy.ts';
import { refused, snapshot, startWorkplace, succeeded, type Workplace } from '../fakes/workplace.ts';
import { needs } from '../needs.ts';
import { until } from '../until.ts';
import { record } from './reliability.ts';

// Evidence in a registry of the organization's own, which now and then refuses, fails, breaks off or is gone.

const contract = `schemaVersion: v1
materials:
  - { type: ARTIFACT, name: binary, output: true }
  - { type: CONTAINER_IMAGE, name: image, optional: true }
`;
const exec = promisify(execFile);

/** Evidence goes to the repository of that name, and a job is open. */
async function beginIn(work: Workplace, host: string, login: readonly string[] = []): Promise<void> {
  const args = ['cas-backend', 'add', 'oci', '--name', 'registry', '--repo', `${host}/evidence`, '--insecure', ...login];
  succeeded(await work.line.run(args, { env: work.operator }));
  succeeded(await work.line.run(['attestation', 'init'], { env: work.job }));
}

const add = ['attestation', 'add', '--name', 'binary', '--value', 'app.bin'];
const large = 10 * 1024 * 1024;
const uploads = /\/v2\/evidence\/blobs\/uploads/;
const always = { times: 1_000_000 };
const status = (code: number, more: { headers?: Record<string, string>; times?: number } = always) =>
  ({ type: 'status', path: uploads, ...always, status: code, ...more }) as const;

const refusals: readonly { readonly what: string; readonly faults: readonly Fault[]; readonly code: number; readonly says: RegExp }[] = [
  { what: 'that wants other credentials (401)', faults: [status(401)], code: 5, says: /cas-backend update --name <name> --username/ },
  { what: 'that allows nothing (403)', faults: [status(403)], code: 5, says: /the account may not do this/ },
  { what: 'without such a repository (404)', faults: [status(404)], code: 1, says: /check the name of the repository/ },
  {
    what: 'that asks to wait for an hour (429)',
    faults: [status(429, { headers: { 'retry-after': '3600' } })],
    code: 75,
    says: /too many requests/,
  },
  { what: 'that is broken (500)', faults: [status(500)], code: 75, says: /try again later/ },
  {
    what: 'that stops in the middle of every blob',
    faults: [{ type: 'cutRequest', path: uploads, method: 'PATCH', afterBytes: 3_000_000, ...always }],
    code: 75,
    says: /again/,
  },
];
test('a registry that refuses: add ends with what to do, nothing is visible, and the same command succeeds later', {
  timeout: 600_000,
}, async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  await using proxy = await startFaultProxy({ target: registry.origin });
  await using work = await startWorkplace({ contract });
  await beginIn(work, proxy.host);
  for (const [index, { what, faults, code, says }] of refusals.entries()) {
    await t.test(`one ${what} ends it with ${code}`, async (t) => {
      if (index > 0) succeeded(await work.line.run(['attestation', 'init'], { env: work.job }));
      const content = randomBytes(large);
      await work.write('app.bin', content);
      const state = await snapshot(join(work.line.folder, 'state'));

      proxy.inject(...faults);
      refused(await work.line.run(add, { env: work.job }), code, /'binary'/, new RegExp(`registry ${proxy.host}`), says);
      proxy.clear();
      assert.deepEqual(await snapshot(join(work.line.folder, 'state')), state);
      const digest = digestOf(content);
      for (const path of [`blobs/${digest}`, `manifests/material-${hexOf(digest)}`]) {
        assert.equal((await fetch(`${registry.origin}/v2/evidence/${path}`, { method: 'HEAD' })).status, 404, path);
      }
      succeeded(await work.line.run(add, { env: work.job }));
      succeeded(await work.line.run(['attestation', 'push'], { env: work.job }));
      record(t, {
        fault: 'F4',
        what: `attestation add, evidence in a registry ${what}`,
        trials: 1,
        sees: `exit ${code}: the material, the registry, and ${says.source.replaceAll('\\', '')}`,
        stored: 'nothing, and the attestation stays as it was; the same command stores it later',
      });
    });
  }
});

const passing: readonly { readonly what: string; readonly faults: readonly Fault[] }[] = [
  { what: 'asks twice to wait for a second (429)', faults: [status(429, { headers: { 'retry-after': '1' }, times: 2 })] },
  {
    what: 'fails once with 503 at each step',
    faults: ['POST', 'PATCH', 'PUT', 'HEAD', 'GET'].map((method) => ({ type: 'status', status: 503, method })),
  },
  {
    what: 'breaks off once in the middle of the blob',
    faults: [{ type: 'cutRequest', path: uploads, method: 'PATCH', afterBytes: 3_000_000 }],
  },
  { what: 'loses the answer to each step once', faults: ['POST', 'PATCH', 'PUT'].map((method) => ({ type: 'loseAnswer', method })) },
];
test('a registry that only stumbles is not noticed: the job goes through, and its evidence is whole', { timeout: 600_000 }, async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  await using proxy = await startFaultProxy({ target: registry.origin });
  await using work = await startWorkplace({ contract });
  await beginIn(work, proxy.host);
  for (const [index, { what, faults }] of passing.entries()) {
    await t.test(`it ${what}`, async (t) => {
      const content = randomBytes(large);
      await work.write('app.bin', content);
      if (index > 0) succeeded(await work.line.run(['attestation', 'init'], { env: work.job }));
      const before = proxy.requests.length;
      proxy.inject(...faults);
      succeeded(await work.line.run(add, { env: { ...work.job, CHAINLOOP_RETRY_SECONDS: '20' } }));
      succeeded(await work.line.run(['attestation', 'push'], { env: work.job }));
      const happened = proxy.requests.slice(before).filter(({ fault }) => fault !== undefined).length;
      assert.ok(happened > 0, 'the fault took place');
      proxy.clear();
      const stored = await fetch(`${registry.origin}/v2/evidence/blobs/${digestOf(content)}`);
      assert.ok(Buffer.from(await stored.arrayBuffer()).equals(content));
      record(t, {
        fault: 'F4',
        what: `a whole job, evidence in a registry that ${what}`,
        trials: happened,
        sees: 'nothing',
        stored: 'the evidence, whole, and a success',
      });
    });
  }
});

test('a registry that is killed in the middle of a blob and comes back: nothing half, and the same command succeeds', {
  timeout: 600_000,
}, async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  await using proxy = await startFaultProxy({ target: registry.origin });
  await using work = await startWorkplace({ contract });
  await beginIn(work, proxy.host);
  const content = randomBytes(2 * large);
  await work.write('app.bin', content);
  const adding = work.line.run(add, { env: work.job });
  const half = () => proxy.requests.some(({ method, bodyBytes }) => method === 'PATCH' && bodyBytes > 100_000);
  await until('the registry has some of the blob', half, { everyMs: 0 });
  await registry.stop({ kill: true });
  // The command may hold out until it is back, or ask to be repeated.
  const first = await Promise.race([adding, new Promise<undefined>((resolve) => setTimeout(resolve, 4_000, undefined))]);
  await registry.start();
  const blob = () => fetch(`${registry.origin}/v2/evidence/blobs/${digestOf(content)}`);
  if (first !== undefined) assert.equal((await blob()).status, 404);
  const ended = first ?? (await adding);
  if (ended.code !== 0) refused(ended, 75, /try again|again/);
  succeeded(await work.line.run(add, { env: work.job }));
  succeeded(await work.line.run(['attestation', 'push'], { env: work.job }));
  assert.ok(Buffer.from(await (await blob()).arrayBuffer()).equals(content));
  record(t, {
    fault: 'F6',
    what: 'kill -9 of the registry in the middle of a blob, back within seconds',
    trials: 1,
    sees: `exit ${ended.code} this time (0, or 75: try again); the same command succeeds`,
    stored: 'nothing half; then the evidence, whole, and a success',
  });
});

const image = JSON.stringify({
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf('{}'), size: 2 },
  layers: [],
});
test('an image is resolved, or is refused with what to do: 401, 404, 429, 500, bytes that are not those of the digest, gone', {
  timeout: 600_000,
}, async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  await using proxy = await startFaultProxy({ target: registry.origin });
  await using work = await startWorkplace({ contract });
  succeeded(await work.line.run(['attestation', 'init'], { env: work.job }));
  const start = await fetch(`${registry.origin}/v2/app/blobs/uploads/`, { method: 'POST' });
  await fetch(`${start.headers.get('location')}&digest=${digestOf('{}')}`, { method: 'PUT', body: '{}' });
  const headers = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' };
  assert.equal((await fetch(`${registry.origin}/v2/app/manifests/v1`, { method: 'PUT', headers, body: image })).status, 201);

  const resolve = (tag = 'v1') =>
    work.line.run(['attestation', 'add', '--name', 'image', '--value', `${proxy.host}/app:${tag}`], { env: work.job });
  const rows: readonly (readonly [Fault, number, RegExp])[] = [
    [{ type: 'status', status: 401, ...always }, 5, /docker login/],
    [{ type: 'status', status: 429, headers: { 'retry-after': '3600' }, ...always }, 75, /try again in 3600 s/],
    [{ type: 'status', status: 500, ...always }, 75, /try again later/],
    [{ type: 'corruptResponse', method: 'GET', path: /manifests/, ...always }, 1, /digest|sha256/],
    [{ type: 'cutResponse', method: 'GET', path: /manifests/, afterBytes: 20, ...always }, 75, /try again later/],
  ];
  refused(await resolve('absent'), 2, /'image'/, /no such image; check name and tag/);
  for (const [fault, code, says] of rows) {
    proxy.inject(fault);
    refused(await resolve(), code, /'image'/, new RegExp(proxy.host), says);
    proxy.clear();
  }
  await registry.stop();
  refused(await resolve(), 75, /try again later/);
  await registry.start();
  succeeded(await resolve());
  const shown: { materials: unknown } = JSON.parse(
    succeeded(await work.line.run(['attestation', 'status', '--full', '--output', 'json'], { env: work.job })),
  );
  assert.match(JSON.stringify(shown.materials), new RegExp(digestOf(image)));
});

for (const kind of databaseKinds) {
  test(`evidence lies in the registry, where skopeo reads it, there and through the control plane (${kind})`, {
    timeout: 600_000,
  }, async (t) => {
    if (!needs(t, 'docker-registry', 'skopeo', ...(kind === 'postgresql' ? (['postgresql'] as const) : []))) return;
    await using registry = await startRegistry({ auth: 'basic' });
    await using work = await startWorkplace({ contract, database: kind });
    await beginIn(work, registry.host, ['--username', registry.username, '--password', registry.password]);
    await work.write('app.bin', 'the program');
    succeeded(await work.line.run(add, { env: work.job }));
    const { digest: bundle }: { digest: string } = JSON.parse(
      succeeded(await work.line.run(['attestation', 'push', '--output', 'json'], { env: work.job })),
    );

    const digest = digestOf('the program');
    const places = [
      { from: `${registry.host}/evidence`, login: `${registry.username}:${registry.password}` },
      { from: `${new URL(work.plane.url).host}/acme`, login: `x:${work.operatorToken}` },
    ];
    const [material, attestation] = [`material-${hexOf(digest)}`, `attestation-${bundle.replace('sha256:', '')}`];
    for (const [index, { from, login }] of places.entries()) {
      for (const tag of [material, attestation]) {
        const args = ['inspect', '--raw', '--tls-verify=false', `--creds=${login}`, `docker://${from}:${tag}`];
        const manifest: { layers: { digest: string }[] } = JSON.parse((await exec('skopeo', args)).stdout);
        assert.equal(manifest.layers[0]?.digest, tag === material ? digest : bundle);
      }
      const folder = join(work.line.folder, `copy-${index}`);
      await exec('skopeo', [
        '--insecure-policy',
        'copy',
        '--src-tls-verify=false',
        `--src-creds=${login}`,
        `docker://${from}:${material}`,
        `dir:${folder}`,
      ]);
      assert.equal(await readFile(join(folder, hexOf(digest)), 'utf8'), 'the program');
    }
    await assert.rejects(
      exec('skopeo', ['inspect', '--raw', '--tls-verify=false', '--creds=x:nobody', `docker://${places[1]?.from}:${material}`]),
    );
  });
}
