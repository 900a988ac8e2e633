import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pullRequestEvent } from '../fakes/actions-runner/event.ts';
import type { JobResult } from '../fakes/actions-runner/job.ts';
import { checkout, cycloneDx, materials, put, type Scene, startScene } from './scene.ts';

// Acceptance list of the Action: row 18: the summaries, as people see them on the page of the run. `GOLDEN=write node --test …` writes them
// anew; look at the difference.

const uses = 'chainloop/attest@v1';
let scene: Scene;
before(async () => {
  scene = await startScene();
});
after(async () => {
  await scene?.[Symbol.asyncDispose]();
});

/** Compares the summary of the first step with test/action/golden/<name>.md; what differs from run to run has names there. */
async function golden(name: string, job: JobResult): Promise<void> {
  const text = (job.steps[0]?.summary ?? '')
    .replaceAll(scene.plane.url, 'https://chainloop.example.com')
    .replaceAll(scene.plane.url.replaceAll(':', '&#58;'), 'https&#58;//chainloop.example.com')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '00000000-0000-0000-0000-000000000000')
    .replaceAll(/127\.0\.0\.1(:|&#58;)\d+/g, '127.0.0.1:0');
  const path = join(import.meta.dirname, 'golden', `${name}.md`);
  if (process.env.GOLDEN === 'write') await writeFile(path, text);
  assert.equal(text, await readFile(path, 'utf8'));
}

const attest = (more: Readonly<Record<string, string>> = {}) => [{ uses, with: { ...scene.inputs, materials, ...more } }];

test('passed', async () => golden('passed', await scene.job(attest())));

test('violations', async () => golden('violations', await scene.job(attest({ materials: 'binary=dist/app\ncommit=x' }))));

test('failed', async () => golden('failed', await scene.job(attest({ materials: 'binary=dist/ap\nsbom=dist/app.spdx.json\ncommit=x' }))));

test('deferred', async () =>
  golden('deferred', await scene.job(attest({ 'control-plane': 'http://127.0.0.1:2', 'retry-timeout': '100ms', 'on-outage': 'defer' }))));

test('skipped', async () => {
  const run = scene.newRun({ event: pullRequestEvent({ fork: true }) });
  await golden('skipped', await scene.job(attest(), { run, job: { permissions: { contents: 'read' } } }));
});

test('dry run', async () => golden('dry-run', await scene.job(attest({ 'dry-run': 'true' }))));

test('open', async () => golden('open', await scene.job(attest({ command: 'add', materials: 'binary=dist/app' }))));

test('not let in', async () =>
  golden('not-let-in', await scene.job(attest(), { run: scene.newRun({ event: { ref: 'refs/heads/other' } }) })));

/** What a stranger can choose: the name of a file, a text, a branch. */
const hostile =
  '|`</details><details open><script>alert(1)</script>[x](javascript:alert(1))![i](http://t/t.png)@acme #1 **b** _u_ ~~s~~ $x^2$ \\| &lt;';

test('hostile names stay text, and break no table', async () => {
  const job = await scene.job(attest({ materials: `binary=dist/app?*\nsbom=dist/x.cdx.json\ncommit=${hostile}` }), {
    async prepare(workspace) {
      await put(workspace, `dist/app${hostile.replaceAll('/', '\u2215').replaceAll('\\', '')}`, 'content');
      await put(workspace, 'dist/x.cdx.json', cycloneDx);
    },
  });
  assert.equal(job.status, 'success', job.log);
  await golden('hostile', job);
  const summary = job.steps[0]?.summary ?? '';
  // Nothing but our own elements, one of each; and each row of the table has as many cells as its head.
  assert.deepEqual([...new Set(summary.match(/<\/?\w+/g))].toSorted(), [
    '</code',
    '</details',
    '</summary',
    '<artifact',
    '<code',
    '<details',
    '<summary',
  ]);
  assert.equal(summary.match(/<details/g)?.length, 1);
  for (const row of summary.match(/^\|.*$/gm) ?? []) assert.equal(row.replaceAll('\\|', '').match(/\|/g)?.length, 5, row);
  assert.doesNotMatch(summary, /\]\((?!http:\/\/127|https:\/\/chainloop)/);
});

test('a text of a line break breaks no table', async () => {
  const job = await scene.job(attest({ materials: `binary=dist/app\nsbom=dist/app.cdx.json\ncommit=a\u2028b\u0085c\vd\u202ee` }), {
    prepare: checkout,
  });
  const summary = job.steps[0]?.summary ?? '';
  assert.doesNotMatch(summary, /[\u2028\u0085\v\u202e]/);
  assert.match(summary, /^\| commit \| STRING \|/m);
});

test('200 materials with long texts fit', async () => {
  const names = Array.from({ length: 200 }, (_, index) => `text-${index}`);
  const contract = `schemaVersion: v1\nmaterials:\n  - { type: ARTIFACT, name: binary, output: true }\n${names
    .slice(1)
    .map((name) => `  - { type: STRING, name: ${name} }\n`)
    .join('')}`;
  await using own = await startScene({ contract });
  const lines = names.slice(1).map((name) => `${name}=${'\u{1F600}<'.repeat(300)}`);
  // More than an environment variable holds.
  const job = await own.job([{ uses, with: { ...own.inputs, 'materials-file': 'evidence', materials: 'binary=dist/app' } }], {
    async prepare(workspace) {
      await checkout(workspace);
      await put(workspace, 'evidence', lines.join('\n'));
    },
  });
  assert.equal(job.status, 'success', job.steps[0]?.log.slice(-2000));
  const summary = job.steps[0]?.summary ?? '';
  assert.ok(summary.length > 1000 && Buffer.byteLength(summary) <= 900 * 1024 + 200, `${Buffer.byteLength(summary)} bytes`);
});
