import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startControlPlane } from '../test/fakes/control-plane.ts';

test('the page of a run says how to read it, to anybody, and nothing of the run; what is no id is not there', async () => {
  await using plane = await startControlPlane();
  const id = '393975ed-6a03-49d1-9885-e69addb53bb0';
  const page = await fetch(`${plane.url}/runs/${id}`);
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-type') ?? '', /^text\/html/);
  assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'none'/);
  assert.match(await page.text(), new RegExp(`chainloop workflow run describe --id ${id}`));
  for (const path of ['x', `${id}x`, `${id}/y`, '%3Cscript%3E', id.toUpperCase()]) {
    assert.equal((await fetch(`${plane.url}/runs/${path}`)).status, 404, path);
  }
});
