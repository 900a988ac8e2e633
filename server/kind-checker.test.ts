import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../core/digest.ts';
import type { MaterialType } from '../core/names.ts';
import { createKindChecker, type KindChecker } from './kind-checker.ts';

const sbom = JSON.stringify({ bomFormat: 'CycloneDX', specVersion: '1.6', version: 1, components: [] });

/** How often the evidence was read. */
async function check(checker: KindChecker, type: MaterialType, content: string): Promise<number> {
  let reads = 0;
  const bytes = Buffer.from(content);
  const read = async (): Promise<Uint8Array> => {
    reads++;
    return bytes;
  };
  await checker.check({
    organizationId: 'acme',
    type,
    digest: digestOf(bytes),
    fileName: "material 'x'",
    sizeBytes: bytes.byteLength,
    read,
  });
  return reads;
}

test('an SBOM is read once, and then known by its digest; for kinds that take any file nothing is read', async () => {
  const checker = createKindChecker();
  assert.equal(await check(checker, 'SBOM_CYCLONEDX_JSON', sbom), 1);
  assert.equal(await check(checker, 'SBOM_CYCLONEDX_JSON', sbom), 0);
  assert.equal(await check(checker, 'ARTIFACT', 'anything'), 0);
  await checker.close();
});

test('what is no SBOM of that kind is refused, also when several are checked at once, and the thread goes on', async () => {
  const checker = createKindChecker();
  const outcomes = await Promise.allSettled([
    check(checker, 'SBOM_CYCLONEDX_JSON', 'not JSON'),
    check(checker, 'SBOM_SPDX_JSON', sbom),
    check(checker, 'SBOM_CYCLONEDX_JSON', JSON.stringify({ bomFormat: 'CycloneDX', specVersion: '1.6', version: 'one' })),
    check(checker, 'SBOM_CYCLONEDX_JSON', `{"bomFormat":"CycloneDX","x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`),
    check(checker, 'SBOM_CYCLONEDX_JSON', sbom),
  ]);
  const codes = outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason.code : 'accepted'));
  assert.deepEqual(codes, ['MATERIAL_KIND_MISMATCH', 'MATERIAL_KIND_MISMATCH', 'MATERIAL_INVALID', 'MATERIAL_INVALID', 'accepted']);
  await checker.close();
});

test('a registry that never answers holds nobody but their own organization, and that not for ever', async () => {
  const checker = createKindChecker({ readTimeoutMs: 1_000 });
  // The thread is there before the time is limited.
  await check(checker, 'SBOM_CYCLONEDX_JSON', `${sbom} `);
  let under = 0;
  let most = 0;
  const aborted: boolean[] = [];
  const evidence = (content: string) => ({
    organizationId: 'mallory',
    type: 'SBOM_CYCLONEDX_JSON' as const,
    digest: digestOf(content),
    fileName: "material 'x'",
    sizeBytes: 10,
  });
  const never = async (signal: AbortSignal): Promise<Uint8Array> => {
    most = Math.max(most, ++under);
    signal.addEventListener('abort', () => {
      under--;
      aborted.push(true);
    });
    return new Promise(() => {});
  };
  const slow = Promise.allSettled(Array.from({ length: 4 }, (_, at) => checker.check({ ...evidence(String(at)), read: never })));
  assert.equal(await check(checker, 'SBOM_CYCLONEDX_JSON', sbom), 1);
  assert.equal(aborted.length, 0, 'nobody waited for mallory');
  const codes = (await slow).map((outcome) => (outcome.status === 'rejected' ? outcome.reason.code : 'accepted'));
  assert.deepEqual(
    codes,
    Array.from({ length: 4 }, () => 'STORAGE_UNAVAILABLE'),
  );
  assert.deepEqual([most, aborted.length], [2, 4]);
  // The places are free again.
  await checker.check({ ...evidence('5'), read: async () => Buffer.from(sbom) });
  await checker.close();
});
