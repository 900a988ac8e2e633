import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { commandLine } from '../test/fakes/command-line.ts';
import { startControlPlane } from '../test/fakes/control-plane.ts';

// The audit log, from the command line: who did what, and that an auditor need not believe the control plane.

const plane = await startControlPlane();
const { api } = await plane.createOrganization('acme');
const operator = await api.apiToken.create.mutate({ name: 'release-bot' });
const auditor = await api.apiToken.create.mutate({ name: 'auditor', role: 'viewer' });
const cli = await commandLine({ CHAINLOOP_URL: plane.url });
const as = (token: string, ...args: readonly string[]) => cli.run(args, { env: { CHAINLOOP_TOKEN: token } });
const audit = (...args: readonly string[]) => as(auditor.token, 'audit', ...args);
after(async () => {
  await cli[Symbol.asyncDispose]();
  await plane[Symbol.asyncDispose]();
});

type Entry = {
  readonly sequence: number;
  readonly action: string;
  readonly actor: { readonly kind: string; readonly id: string; readonly name: string };
  readonly resource: { readonly name: string };
  readonly details: Readonly<Record<string, unknown>>;
};

async function listed(...args: readonly string[]): Promise<readonly Entry[]> {
  const { stdout, stderr, code } = await audit('ls', '--output', 'json', ...args);
  assert.equal(code, 0, stderr);
  const page: { items: { entry: Entry }[] } = JSON.parse(stdout);
  return page.items.map(({ entry }) => entry);
}

async function head(...args: readonly string[]): Promise<string> {
  const { stdout, stderr, code } = await audit('verify', '--output', 'json', ...args);
  assert.equal(code, 0, stderr);
  const checked: { head: string } = JSON.parse(stdout);
  return checked.head;
}

test('what a token did is listed with its name, what changed, and by filters of each kind; nothing is there of its secret', async () => {
  const from = new Date();
  await as(operator.token, 'workflow', 'create', '--name', 'release', '--project', 'bedrock');
  await as(operator.token, 'workflow', 'update', '--name', 'release', '--project', 'bedrock', '--team', 'core');
  const [update, create] = await listed('--resource', 'bedrock/release');
  assert.deepEqual(
    [update?.action, update?.actor, update?.details],
    [
      'workflow.update',
      { kind: 'api-token', id: operator.id, name: 'release-bot' },
      { contract: 'release', name: 'release', team: { from: '', to: 'core' } },
    ],
  );
  assert.equal(create?.action, 'workflow.create');
  assert.deepEqual(await listed('--action', 'workflow.update'), [update]);
  assert.deepEqual(await listed('--actor', 'release-bot', '--since', from.toISOString(), '--limit', '1'), [update]);
  assert.deepEqual(await listed('--until', '2020-01-01'), []);
  const { stdout } = await audit('ls');
  assert.match(stdout, /│ +\d+ +│ .* │ release-bot \(api-token\) │ workflow\.update +│ bedrock\/release +│/);
  const all = JSON.stringify(await listed('--limit', '1000'));
  for (const { token } of [operator, auditor]) {
    assert.ok(!all.includes(token) && !all.includes(createHash('sha256').update(token).digest('hex')));
  }
});

test('a log that is as it was written verifies, also against a head from before; another head is refused', async () => {
  const kept = await head();
  await as(operator.token, 'workflow', 'create', '--name', 'other', '--project', 'bedrock');
  assert.notEqual(await head('--head', kept), kept);
  const [sequence = ''] = kept.split(':');
  const refused = await audit('verify', '--head', `${sequence}:${'0'.repeat(64)}`);
  assert.equal(refused.code, 4);
  assert.match(refused.stderr, new RegExp(`ERR audit log: row ${sequence} is not the one whose hash was kept`));
  const longer = await audit('verify', '--head', `9999:${'0'.repeat(64)}`);
  assert.equal(longer.code, 4);
  assert.match(longer.stderr, /rows \d+ to 9999 were removed: the head that was kept ends at 9999/);
});

test('an export is verified without a control plane, and a row that is altered or missing in it is named', async () => {
  const whole = await audit('export', '--output', 'audit.jsonl');
  assert.equal(whole.code, 0, whole.stderr);
  const offline = (file: string, ...args: readonly string[]) =>
    cli.run(['audit', 'verify', '--file', file, '--output', 'json', ...args], { env: { CHAINLOOP_URL: 'http://127.0.0.1:9' } });
  const kept = await head();
  const good = await offline('audit.jsonl', '--head', kept);
  assert.equal(good.code, 0, good.stderr);
  assert.equal(JSON.parse(good.stdout).head, kept);
  const lines = (await readFile(join(cli.folder, 'audit.jsonl'), 'utf8')).trimEnd().split('\n');
  const changed = lines.map((line, index) => (index === 4 ? line.replace('"action": "', '"action": "x') : line));
  for (const [name, content, message] of [
    ['altered', changed, /row 5 was altered/],
    ['shorter', lines.filter((_, index) => index !== 4), /row 5 was removed/],
    ['cut', lines.slice(0, -1), /row \d+ was removed: the head that was kept/],
    ['other', ['{}', ...lines], /the first line is no row of an audit log/],
  ] as const) {
    await writeFile(join(cli.folder, name), `${content.join('\n')}\n`);
    const refused = await offline(name, '--head', kept);
    assert.deepEqual([refused.code, message.test(refused.stderr)], [4, true], `${name}: ${refused.stderr}`);
  }
  const again = await audit('export', '--output', 'audit.jsonl');
  assert.equal(again.code, 6, 'a file that is there is not replaced');
  const part = await audit('export', '--after', '3');
  assert.equal(part.stdout, `${lines.slice(3).join('\n')}\n`);
});

test('the lines of an export hash as docs/audit.md says, without any of this code', async () => {
  const { stdout } = await audit('export');
  let previous = '0'.repeat(64);
  for (const line of stdout.trimEnd().split('\n')) {
    const [, entry = '', hash] = /^\{"entry":(.*),"hash":"(.*)"\}$/.exec(line) ?? [];
    assert.equal(createHash('sha256').update(entry).digest('hex'), hash);
    assert.equal(JSON.parse(entry).previous, previous);
    previous = hash ?? '';
  }
});

test('the log of the instance is for its owner alone; what is refused, and who used a revoked token, is in the log, once', async () => {
  const refused = await audit('ls', '--instance');
  assert.equal(refused.code, 5);
  const env = { CHAINLOOP_TOKEN: plane.ownerToken };
  const { stdout } = await cli.run(['audit', 'ls', '--instance', '--output', 'json'], { env });
  const { items }: { items: { entry: Entry }[] } = JSON.parse(stdout);
  assert.ok(items.some(({ entry }) => entry.action === 'organization.create' && entry.resource.name === 'acme'));
  const gone = await api.apiToken.create.mutate({ name: 'gone' });
  await api.apiToken.revoke.mutate({ id: gone.id });
  for (let time = 0; time < 3; time++) {
    assert.equal((await as(auditor.token, 'workflow', 'create', '--name', 'x', '--project', 'y')).code, 5);
    assert.equal((await as(gone.token, 'workflow', 'ls')).code, 5);
  }
  const names = (await listed()).map(({ action, actor, resource }) => `${actor.name} ${action} ${resource.name}`);
  assert.equal(names.filter((name) => name === 'auditor request.refuse workflow.create').length, 1);
  assert.equal(names.filter((name) => name === 'gone api-token.refuse gone').length, 1);
  assert.equal((await cli.run(['audit', 'verify', '--instance'], { env })).code, 0);
});
