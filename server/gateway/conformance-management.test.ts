import assert from 'node:assert/strict';
import { digestOf } from '../../core/digest.ts';
import { conforms, imageManifest } from '../../test/fakes/conformance.ts';

// OCI distribution specification 1.1, "Content Management" and "Error Codes".

conforms('Deleting tags, manifests, blobs: disabled is 405, and everything stays', async ({ ask, blob, manifest }) => {
  const digest = await blob('some bytes');
  await blob('{}');
  const { digest: described } = await manifest(imageManifest(), { tag: 'v1' });
  const paths = ['manifests/v1', `manifests/${described}`, `blobs/${digest}`];
  for (const path of [...paths, 'manifests/absent', `blobs/${digestOf('absent')}`]) {
    const { status, code, headers } = await ask('DELETE', path);
    assert.deepEqual([status, code], [405, 'UNSUPPORTED'], path);
    assert.equal(headers.allow, path.startsWith('blobs') ? 'HEAD, GET' : 'HEAD, GET, PUT');
  }
  for (const path of paths) assert.equal((await ask('HEAD', path)).status, 200, path);
  assert.equal((await ask('DELETE', '/v2/nobody/manifests/v1')).status, 404);
});

conforms('Error Codes: the body is a list of errors with code and message', async ({ ask }) => {
  for (const [method, path] of [
    ['GET', 'manifests/absent'],
    ['GET', `blobs/${digestOf('absent')}`],
    ['GET', 'blobs/uploads/absent'],
    ['GET', '/v2/nobody/tags/list'],
    ['PUT', 'blobs/uploads/absent'],
    ['POST', 'tags/list'],
    ['PUT', 'manifests/v1'],
  ] as const) {
    const { headers, body } = await ask(method, path);
    assert.equal(headers['content-type'], 'application/json');
    const [{ code, message }]: [{ code: unknown; message: unknown }] = JSON.parse(body.toString()).errors;
    assert.match(String(code), /^[A-Z_]+$/);
    assert.ok(typeof message === 'string' && message.length > 0);
  }
});
