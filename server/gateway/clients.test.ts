import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChallenges } from '../../core/adapters/oci/challenge.ts';
import { digestOf } from '../../core/digest.ts';
import { type FakeGateway, startGateway, tokens } from '../../test/fakes/gateway.ts';
import { type Answer, type Call, call } from '../../test/fakes/http-call.ts';
import { emptyDescriptor, mediaTypes } from '../storage/manifest.ts';

// What clients that CI does not have ask of a registry, in their order: as docker 28.2, oras 1.3.6 and crane 0.22.1 did it here; containerd as the
// distribution project's "OAuth2 Token Authentication" says.

/** One request and the status of its answer. `LOCATION` is where the last answer pointed to. */
type Step = readonly [method: string, path: string, status: number, options?: Call];

const file = Buffer.from('Mon Nov 23\n');
const layer = { mediaType: 'text/plain', digest: digestOf(file), size: file.length };
const artifact = JSON.stringify({
  schemaVersion: 2,
  mediaType: mediaTypes.manifest,
  artifactType: 'application/x-test',
  config: emptyDescriptor,
  layers: [layer],
});
const docker = 'application/vnd.docker.distribution.manifest.v2+json';
const image = JSON.stringify({
  schemaVersion: 2,
  mediaType: docker,
  config: { ...emptyDescriptor, mediaType: 'application/vnd.docker.container.image.v1+json' },
  layers: [layer],
});
const octets = { 'content-type': 'application/octet-stream' };

/** The first request is sent without a token; what the challenge asks for is bought as the client buys it. */
async function replay(
  gateway: FakeGateway,
  buy: (realm: URL, service: string, scope: string | undefined) => Promise<Answer>,
  steps: readonly Step[],
): Promise<void> {
  const [[method, path] = ['GET', '/v2/']] = steps;
  const refused = await call(gateway.origin, method, path);
  assert.equal(refused.status, 401);
  const parameters = parseChallenges(String(refused.headers['www-authenticate']))[0]?.parameters;
  const realm = new URL(parameters?.get('realm') ?? '');
  // Whoever asks /v2/ first makes the scope itself.
  const sold = await buy(realm, parameters?.get('service') ?? '', parameters?.get('scope'));
  assert.equal(sold.status, 200);
  const { token }: { token: string } = JSON.parse(sold.body.toString());
  let location = '';
  for (const [method, path, status, options] of steps) {
    const answer = await call(gateway.origin, method, path.replace('LOCATION', location), { token, ...options });
    assert.equal(answer.status, status, `${method} ${path}: ${answer.body}`);
    location = String(answer.headers.location ?? location);
  }
}

const get =
  (gateway: FakeGateway, more: Record<string, string> = {}) =>
  (realm: URL, service: string, scope?: string): Promise<Answer> => {
    const query = new URLSearchParams({ ...more, ...(scope === undefined ? {} : { scope }), service });
    const authorization = `Basic ${Buffer.from(`x:${tokens.api}`).toString('base64')}`;
    return call(gateway.origin, 'GET', `${realm.pathname}?${query}`, { headers: { authorization } });
  };

test('docker login', async () => {
  await using gateway = await startGateway();
  const buy = get(gateway, { account: 'x', client_id: 'docker', offline_token: 'true' });
  await replay(gateway, buy, [['GET', '/v2/', 200]]);
});

/** The form of the token specification, with the token where the client puts it. */
const post =
  (gateway: FakeGateway, fields: Record<string, string>) =>
  (realm: URL, service: string, scope = 'repository:acme:pull'): Promise<Answer> =>
    call(gateway.origin, 'POST', realm.pathname, {
      body: new URLSearchParams({ ...fields, scope, service }).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' },
    });

test('oras login with a token and no user', async () => {
  await using gateway = await startGateway();
  const fields = { client_id: 'oras-go', grant_type: 'refresh_token', refresh_token: tokens.api };
  await replay(gateway, post(gateway, fields), [['GET', '/v2/', 200]]);
});

test('containerd, as docker pull and push use it, asks for the token by a form', async () => {
  await using gateway = await startGateway();
  const fields = { client_id: 'containerd-client', grant_type: 'password', username: 'x', password: tokens.api };
  await replay(gateway, post(gateway, fields), [
    ['POST', '/v2/acme/blobs/uploads/', 202],
    ['PUT', `LOCATION?digest=${layer.digest}`, 201, { body: file, headers: octets }],
    ['POST', '/v2/acme/blobs/uploads/', 202],
    ['PUT', `LOCATION?digest=${emptyDescriptor.digest}`, 201, { body: '{}', headers: octets }],
    ['HEAD', '/v2/acme/manifests/v1', 404],
    ['PUT', '/v2/acme/manifests/v1', 201, { body: image, headers: { 'content-type': docker } }],
    ['HEAD', '/v2/acme/manifests/v1', 200, { headers: { accept: `${docker}, ${mediaTypes.index}, */*` } }],
  ]);
});

test('oras push, pull and discover', async () => {
  await using gateway = await startGateway();
  const scope = 'repository:acme:pull,push';
  await replay(gateway, (realm, service) => get(gateway)(realm, service, scope), [
    ['HEAD', `/v2/acme/manifests/${digestOf(artifact)}`, 404],
    ['HEAD', `/v2/acme/blobs/${layer.digest}`, 404],
    ['HEAD', `/v2/acme/blobs/${emptyDescriptor.digest}`, 404],
    ['POST', '/v2/acme/blobs/uploads/', 202],
    ['PUT', `LOCATION?digest=${layer.digest.replace(':', '%3A')}`, 201, { body: file, headers: octets }],
    ['POST', '/v2/acme/blobs/uploads/', 202],
    ['PUT', `LOCATION?digest=${emptyDescriptor.digest.replace(':', '%3A')}`, 201, { body: '{}', headers: octets }],
    ['PUT', '/v2/acme/manifests/now', 201, { body: artifact, headers: { 'content-type': mediaTypes.manifest } }],
  ]);
  await replay(gateway, get(gateway), [
    ['GET', '/v2/acme/manifests/now', 200],
    ['GET', `/v2/acme/blobs/${layer.digest}`, 200],
    ['GET', `/v2/acme/referrers/${digestOf(artifact)}?artifactType=application%2Fx-sig`, 200],
  ]);
});

test('crane append and ls', async () => {
  await using gateway = await startGateway();
  await replay(gateway, (realm, service) => get(gateway)(realm, service, 'repository:acme:push,pull'), [
    ['GET', '/v2/', 200],
    ['HEAD', '/v2/acme/manifests/image', 404],
    ['HEAD', `/v2/acme/blobs/${layer.digest}`, 404],
    ['POST', '/v2/acme/blobs/uploads/', 202],
    ['PATCH', 'LOCATION', 202, { body: file, headers: octets }],
    ['PUT', `LOCATION?digest=${layer.digest.replace(':', '%3A')}`, 201],
    ['POST', '/v2/acme/blobs/uploads/', 202],
    ['PATCH', 'LOCATION', 202, { body: '{}', headers: octets }],
    ['PUT', `LOCATION?digest=${emptyDescriptor.digest.replace(':', '%3A')}`, 201],
    ['PUT', '/v2/acme/manifests/image', 201, { body: image, headers: { 'content-type': docker } }],
    ['GET', '/v2/acme/tags/list?n=1000', 200],
  ]);
});
