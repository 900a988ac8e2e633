import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startControlPlane } from '../../test/fakes/control-plane.ts';

test('a workflow without a contract gets an empty one of its name, and never takes somebody’s by accident', async () => {
  await using plane = await startControlPlane();
  const { api } = await plane.createOrganization('acme');
  await api.workflow.create.mutate({ name: 'fresh', project: 'bedrock' });
  assert.equal((await api.contract.describe.query({ name: 'fresh' })).body, 'schemaVersion: v1\n');
  await api.contract.create.mutate({
    name: 'release',
    format: 'yaml',
    body: 'schemaVersion: v1\nmaterials:\n  - { type: STRING, name: a }\n',
  });
  await assert.rejects(api.workflow.create.mutate({ name: 'release', project: 'bedrock' }), {
    code: 'ALREADY_EXISTS',
    message: "contract 'release' exists already; to use it for the workflow, say so: --contract release",
  });
  await api.workflow.create.mutate({ name: 'release', project: 'bedrock', contract: 'release' });
  const again = { code: 'ALREADY_EXISTS', message: /^workflow 'release' exists already/ };
  await assert.rejects(api.workflow.create.mutate({ name: 'release', project: 'bedrock' }), again);
  await assert.rejects(api.workflow.create.mutate({ name: 'release', project: 'bedrock', contract: 'release' }), again);
});
