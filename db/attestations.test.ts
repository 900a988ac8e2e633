import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { ContractMaterial } from '../core/contract/schema.ts';
import { digestOf } from '../core/digest.ts';
import { forEachDatabase, newOrganization } from '../test/databases.ts';
import { listAttested } from './attestations.ts';
import type { OrgScope } from './client.ts';
import { openedRun, someAttested, someContent } from './fixtures.ts';
import { pushRun } from './run-states.ts';
import { createWorkflow } from './workflows.ts';

const now = new Date();

/** A workflow whose contract calls `server` an output, or does not. */
async function workflowOf(scope: OrgScope, output: boolean): Promise<string> {
  const materials: ContractMaterial[] = [{ name: 'server', type: 'ARTIFACT', optional: false, output, skipUpload: false, annotations: [] }];
  const content = { ...someContent(randomUUID()), content: { materials, envAllowList: [], annotations: [] } };
  const name = `w-${randomUUID()}`;
  return (await createWorkflow(scope, { name, project: 'bedrock', team: '', contract: { name, content } })).id;
}

async function attest(scope: OrgScope, workflowId: string, artifact: ReturnType<typeof digestOf>): Promise<string> {
  const { id } = await openedRun(scope, workflowId);
  await pushRun(scope, id, someAttested(id, artifact), now);
  return id;
}

forEachDatabase(
  'the attestations of an artifact are those of which it is a subject, newest first, of this organization',
  async (_, database) => {
    const [one, two] = [await newOrganization(database), await newOrganization(database)];
    const artifact = digestOf(randomUUID());
    const [builds, uses] = [await workflowOf(one.scope, true), await workflowOf(one.scope, false)];
    const first = await attest(one.scope, builds, artifact);
    await attest(one.scope, uses, artifact);
    await openedRun(one.scope, builds);
    const second = await attest(one.scope, builds, artifact);
    await attest(two.scope, await workflowOf(two.scope, true), artifact);
    await attest(one.scope, builds, digestOf('another'));
    const { items, nextCursor } = await listAttested(one.scope, artifact, { limit: 50 });
    assert.equal(nextCursor, undefined);
    assert.deepEqual(
      items.map(({ id, state, project, contractRevision, bundleDigest, signer }) => [
        id,
        state,
        project,
        contractRevision,
        bundleDigest,
        signer,
      ]),
      [second, first].map((id) => [id, 'success', 'bedrock', 1, digestOf(`bundle ${id}`), 'release']),
    );
    assert.deepEqual((await listAttested(one.scope, digestOf(randomUUID()), { limit: 50 })).items, []);
  },
);

forEachDatabase('pages go on past runs that only used the artifact', async (_, database) => {
  const { scope } = await newOrganization(database);
  const artifact = digestOf(randomUUID());
  const builder = await attest(scope, await workflowOf(scope, true), artifact);
  const uses = await workflowOf(scope, false);
  for (let index = 0; index < 3; index++) await attest(scope, uses, artifact);
  const found: string[] = [];
  let pages = 0;
  for (let cursor: string | undefined, more = true; more; pages++) {
    const page = await listAttested(scope, artifact, { limit: 2, cursor });
    found.push(...page.items.map(({ id }) => id));
    cursor = page.nextCursor;
    more = cursor !== undefined;
  }
  assert.deepEqual([found, pages], [[builder], 2]);
});
