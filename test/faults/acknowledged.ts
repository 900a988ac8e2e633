import assert from 'node:assert/strict';
import type { Api } from '../../client/api.ts';

export async function everyRun(api: Api) {
  const runs = [];
  let cursor: string | undefined;
  do {
    const page = await api.run.list.query({ limit: 100, cursor });
    runs.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return runs;
}

/** No run was opened twice; those that were acknowledged, by the digest of their bundle, succeeded and verify, and no other; counters are as the rows. */
export async function onceAndVerifying(api: Api, opened: ReadonlySet<string>, acknowledged: ReadonlyMap<string, string>): Promise<void> {
  const runs = await everyRun(api);
  assert.equal(runs.length, opened.size, 'no run was opened twice');
  assert.deepEqual(new Set(runs.filter(({ state }) => state === 'success').map(({ id }) => id)), new Set(acknowledged.keys()));
  for (const [id, digest] of acknowledged) {
    const { attestation } = await api.run.describe.query({ id });
    assert.deepEqual([attestation?.digest, attestation?.verified, attestation?.verificationError], [digest, true, null]);
  }
  const [workflow] = (await api.workflow.list.query({})).items;
  assert.equal(workflow?.runsCount, runs.length, 'counters are as the rows');
}
