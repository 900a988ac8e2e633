import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyConfig, materialManifest } from '../../core/adapters/oci/evidence-store.ts';
import { digestOf, hexOf } from '../../core/digest.ts';
import { startGateway, tokens } from '../../test/fakes/gateway.ts';
import { type Answer, call } from '../../test/fakes/http-call.ts';
import { artifactManifest, emptyDescriptor, mediaTypes } from '../storage/manifest.ts';
import { pushBlob } from '../storage/storage.ts';

const bytes = Buffer.from('evidence of acme');
const digest = digestOf(bytes);
const tag = `material-${hexOf(digest)}`;
const manifest = materialManifest({ digest, sizeBytes: bytes.byteLength, mediaType: 'text/plain', fileName: 'a.txt' });

/** A gateway in which acme has one material and one open upload. */
async function withEvidence() {
  const gateway = await startGateway();
  await pushBlob(gateway.storage, emptyConfig.bytes, emptyDescriptor.digest);
  await pushBlob(gateway.storage, bytes, digest);
  await gateway.storage.putManifest(tag, mediaTypes.manifest, manifest);
  return { gateway, session: (await gateway.storage.beginUpload()).session };
}

/** Every route of the gateway, with things that exist in acme. */
function routes(organization: string, session: string): readonly (readonly [string, string, Uint8Array?])[] {
  const base = `/v2/${organization}`;
  return [
    ['HEAD', `${base}/blobs/${digest}`],
    ['GET', `${base}/blobs/${digest}`],
    ['DELETE', `${base}/blobs/${digest}`],
    ['POST', `${base}/blobs/uploads/`],
    ['POST', `${base}/blobs/uploads/?digest=${digest}`, bytes],
    ['POST', `${base}/blobs/uploads/?mount=${digest}&from=acme`],
    ['GET', `${base}/blobs/uploads/${session}`],
    ['PATCH', `${base}/blobs/uploads/${session}`, bytes],
    ['PUT', `${base}/blobs/uploads/${session}?digest=${digest}`, bytes],
    ['DELETE', `${base}/blobs/uploads/${session}`],
    ['HEAD', `${base}/manifests/${tag}`],
    ['GET', `${base}/manifests/${tag}`],
    ['GET', `${base}/manifests/${digestOf(manifest)}`],
    ['PUT', `${base}/manifests/${tag}`, manifest],
    ['DELETE', `${base}/manifests/${tag}`],
    ['GET', `${base}/tags/list`],
    ['GET', `${base}/referrers/${digest}`],
  ];
}

/** An answer without what differs from one request to the next. */
function shape({ status, headers, body }: Answer): unknown {
  const { date, 'x-request-id': id, ...rest } = headers;
  return { status, headers: rest, body: body.toString() };
}

test('another organization looks exactly like one that does not exist, on every route', async () => {
  const { gateway, session } = await withEvidence();
  await using _ = gateway;
  const absent = routes('nobody', session);
  for (const [index, [method, path, body]] of routes('acme', session).entries()) {
    const foreign = await call(gateway.origin, method, path, { token: tokens.stranger, body });
    const none = await call(gateway.origin, method, absent[index]?.[1] ?? '', { token: tokens.stranger, body });
    assert.deepEqual([foreign.status, method === 'HEAD' ? 'NAME_UNKNOWN' : foreign.code], [404, 'NAME_UNKNOWN'], `${method} ${path}`);
    assert.deepEqual(shape(foreign), shape(none), `${method} ${path}`);
  }
  assert.deepEqual(await gateway.storage.uploadStatus(session), { session, offset: 0 });
});

test('an owner enters every organization, and no other', async () => {
  const { gateway } = await withEvidence();
  await using _ = gateway;
  const ask = async (path: string): Promise<number> => (await call(gateway.origin, 'GET', path, { token: tokens.owner })).status;
  assert.equal(await ask(`/v2/acme/blobs/${digest}`), 200);
  assert.equal(await ask('/v2/other/tags/list'), 200);
  assert.equal(await ask(`/v2/nobody/blobs/${digest}`), 404);
});

test('an upload session is of no use in another organization', async () => {
  const { gateway, session } = await withEvidence();
  await using _ = gateway;
  const answer = await call(gateway.origin, 'PUT', `/v2/other/blobs/uploads/${session}?digest=${digest}`, {
    token: tokens.stranger,
    body: bytes,
  });
  assert.deepEqual([answer.status, answer.code], [404, 'BLOB_UPLOAD_UNKNOWN']);
});

test('without a valid token every route answers 401, and says how to log in', async () => {
  const { gateway, session } = await withEvidence();
  await using _ = gateway;
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;
  const headers = [undefined, 'Bearer nonsense', basic('x:nonsense'), basic('x'), 'Bearer', 'Digest x', `Bearer ${tokens.expired}`];
  for (const [method, path] of [...routes('acme', session), ['GET', '/v2/'], ['GET', '/v2/nobody/tags/list'], ['GET', '/v2/..']] as const) {
    for (const authorization of headers) {
      const answer = await call(gateway.origin, method, path, authorization === undefined ? {} : { headers: { authorization } });
      assert.equal(answer.status, 401, `${method} ${path} ${authorization}`);
      assert.match(
        String(answer.headers['www-authenticate']),
        new RegExp(`^Bearer realm="${gateway.origin}/v2/token",service="${gateway.host}"`),
      );
    }
  }
});

test('Basic with the token as password does as Bearer does', async () => {
  const { gateway } = await withEvidence();
  await using _ = gateway;
  const authorization = `Basic ${Buffer.from(`anybody:${tokens.api}`).toString('base64')}`;
  assert.equal((await call(gateway.origin, 'GET', `/v2/acme/blobs/${digest}`, { headers: { authorization } })).status, 200);
});

test('a service account uploads evidence and sees none', async () => {
  const { gateway, session } = await withEvidence();
  await using _ = gateway;
  const mine = Buffer.from('mine');
  const layer = { mediaType: 'text/plain', digest, size: bytes.byteLength };
  const foreign = artifactManifest({ artifactType: 'application/vnd.dev.sigstore.bundle.v0.3+json', layer });
  const rows: readonly (readonly [string, string, number, Uint8Array?])[] = [
    ['GET', '/v2/', 200],
    ['HEAD', `/v2/acme/blobs/${digest}`, 200],
    ['HEAD', `/v2/acme/manifests/${tag}`, 200],
    ['POST', `/v2/acme/blobs/uploads/?digest=${digestOf(mine)}`, 201, mine],
    ['PUT', `/v2/acme/manifests/${tag}`, 201, manifest],
    ['PUT', `/v2/acme/manifests/${digestOf(manifest)}`, 201, manifest],
    ['GET', `/v2/acme/blobs/uploads/${session}`, 204],
    ['GET', `/v2/acme/blobs/${digest}`, 403],
    ['GET', `/v2/acme/manifests/${tag}`, 403],
    ['GET', `/v2/acme/manifests/${digestOf(manifest)}`, 403],
    ['HEAD', `/v2/acme/manifests/${digestOf(manifest)}`, 403],
    ['HEAD', '/v2/acme/manifests/attestation-0', 403],
    ['GET', '/v2/acme/tags/list', 403],
    ['GET', `/v2/acme/referrers/${digest}`, 403],
    ['PUT', `/v2/acme/manifests/attestation-${hexOf(digest)}`, 403, foreign],
    ['PUT', `/v2/acme/manifests/${digestOf(foreign)}`, 403, foreign],
    ['PUT', '/v2/acme/manifests/latest', 403, manifest],
    ['DELETE', `/v2/acme/manifests/${tag}`, 405],
    ['HEAD', `/v2/other/blobs/${digest}`, 404],
  ];
  for (const [method, path, status, body] of rows) {
    const answer = await call(gateway.origin, method, path, { token: tokens.job, body });
    assert.equal(answer.status, status, `${method} ${path}`);
    if (status === 403 && method !== 'HEAD') assert.equal(answer.code, 'DENIED');
  }
});

test('the tags of attestations are closed to everybody', async () => {
  const { gateway } = await withEvidence();
  await using _ = gateway;
  for (const token of [tokens.owner, tokens.api, tokens.job]) {
    const answer = await call(gateway.origin, 'PUT', `/v2/acme/manifests/attestation-${hexOf(digest)}`, { token, body: manifest });
    assert.deepEqual([answer.status, answer.code], [403, 'DENIED']);
  }
});
