import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { listen } from '../test/fakes/listen.ts';
import { needs } from '../test/needs.ts';
import { examine } from './examination.ts';
import { openLayout } from './storage/layout.ts';

async function examined(location: string, allowAddress: (address: string) => boolean) {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-examined-'));
  const storage = await openLayout(folder.path);
  const place = { name: 'bucket', provider: 's3', location, insecure: false, region: 'x', virtualHost: false, credentials: null } as const;
  const keeper = { organizationId: 'acme', instanceId: 'one' };
  const { findings, problem } = await examine({ storage, place, keeper, allowAddress, explained: (error) => error });
  await storage.close();
  return { problem, found: (check: string) => findings.find((finding) => finding.check === check) };
}

test('a certificate that nobody trusts, and one that ends soon, are told', async (t) => {
  if (!needs(t, 'openssl')) return;
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-tls-'));
  const [keyFile, certFile] = [join(folder.path, 'key'), join(folder.path, 'cert')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-days', '7'];
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', keyFile, '-out', certFile, ...subject],
    { stdio: 'ignore' },
  );
  const cert = await readFile(certFile, 'utf8');
  const server = createServer({ key: await readFile(keyFile), cert }, (_, response) => response.end());
  await using running = await listen(server);
  const location = `https://localhost:${new URL(running.origin).port}/evidence`;
  const known = getCACertificates('default');

  const stranger = await examined(location, () => true);
  assert.match(stranger.found('tls')?.detail ?? '', /its certificate is self-signed; .*NODE_EXTRA_CA_CERTS/);
  assert.deepEqual([stranger.found('credentials')?.status, stranger.problem?.code], ['skipped', 'REGISTRY_UNAVAILABLE']);
  try {
    setDefaultCACertificates([...known, cert]);
    const trusted = await examined(location, () => true);
    assert.deepEqual([trusted.found('tls')?.status, trusted.problem], ['note', null]);
    assert.match(
      trusted.found('tls')?.detail ?? '',
      /^TLSv1\.3; the certificate is good until \d{4}-\d\d-\d\d, [67] days from now: see that it is renewed$/,
    );
  } finally {
    setDefaultCACertificates(known);
  }
});

test('a name that nobody knows, and an address that must not be called, are told; nothing else is tried', async () => {
  const unknown = await examined('https://s3.invalid/evidence', () => true);
  assert.match(unknown.found('address')?.detail ?? '', /storage s3\.invalid: .*unknown; check the name/);
  const refused = await examined('https://localhost/evidence', () => false);
  assert.match(refused.found('address')?.detail ?? '', /must not be called/);
  for (const { found } of [unknown, refused]) assert.equal(found('limits')?.status, 'skipped');
});
