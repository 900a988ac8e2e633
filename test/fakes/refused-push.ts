import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Api } from '../../client/api.ts';
import { isChainloopError } from '../../core/errors.ts';
import type { InitAnswer } from '../../core/ports.ts';
import { until } from '../until.ts';
import type { Job } from './job.ts';

/** The blobs of an organization that lie in the data directory. */
export function storedBlobs(dataDir: string, organization = 'acme'): Promise<string[]> {
  return readdir(join(dataDir, 'storage', organization, 'blobs', 'sha256'));
}

/** The push is refused with that code and words, nothing is stored, and the run can still succeed. */
export async function refusedPush(
  at: { readonly api: Api; readonly dataDir: string; readonly job: Pick<Job, 'push'> },
  run: InitAnswer,
  bundle: string,
  code: string,
  words: RegExp,
): Promise<void> {
  // What an accepted push before this one has left to be done.
  await until('the outbox is empty', async () => (await at.api.outbox.list.query({})).items.length === 0);
  const stored = await storedBlobs(at.dataDir);
  await assert.rejects(at.job.push(run, bundle), (error) => {
    assert.ok(isChainloopError(error), String(error));
    assert.equal(error.code, code, error.message);
    assert.match([error.message, ...error.problems.map(({ path, message }) => `${path ?? ''} ${message}`)].join('\n'), words);
    return true;
  });
  assert.deepEqual(await storedBlobs(at.dataDir), stored, 'a refused push stores nothing');
  const described = await at.api.run.describe.query({ id: run.runId });
  assert.equal(described.run.state, 'initialized');
  assert.equal(described.attestation, null);
}
