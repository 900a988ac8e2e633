import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { chromium } from 'playwright-core';
import { commandLine } from './fakes/command-line.ts';
import { startControlPlane } from './fakes/control-plane.ts';
import { loginThrough } from './fakes/openid-provider.ts';
import { createPerson, startRealOpenidProvider } from './fakes/real-openid-provider.ts';
import { chromiumPath, needs } from './needs.ts';

// Logins end to end: the command line in processes of its own, a control plane, and an OpenID provider that others wrote.

/** All of it, with somebody invited. */
async function scene(email: string) {
  await using stack = new AsyncDisposableStack();
  const provider = stack.use(await startRealOpenidProvider());
  const plane = stack.use(await startControlPlane(loginThrough(provider)));
  provider.register(plane.url);
  const { api } = await plane.createOrganization('acme');
  await api.invitation.create.mutate({ email, role: 'admin' });
  const cli = stack.use(await commandLine({ CHAINLOOP_URL: plane.url }));
  const resources = stack.move();
  return { plane, api, cli, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

/** What the command says until it says that, and how it ends. */
function watch(child: ChildProcess) {
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (piece: string) => {
    said += piece;
  });
  const ended = once(child, 'close').then(([code]) => ({ code, said }));
  const until = async (pattern: RegExp): Promise<readonly string[]> => {
    for (;;) {
      const found = pattern.exec(said);
      if (found !== null) return found;
      const next = child.stderr === null ? ended : once(child.stderr, 'data');
      const over = await Promise.race([next.then(() => false), ended.then(() => true)]);
      if (over && pattern.exec(said) === null) throw new Error(`it ended: ${said}`);
    }
  };
  return { ended, until };
}

test('device flow, end to end in a terminal: log in, work, log out', { timeout: 600_000 }, async () => {
  await using all = await scene('alice@example.com');
  const { cli, plane, api } = all;
  const logIn = async (): Promise<string> => {
    const login = watch(cli.start(['auth', 'login', '--device', '--output', 'json']));
    const [, address = '', code = ''] = await login.until(/open (http\S+) and enter the code (\S+)\n/);
    const page = await createPerson({ user_code: code, login: 'alice', password: 'any', confirm: 'yes' }).walk(address);
    assert.match(page, /Sign-in Success/i);
    const { code: exit, said } = await login.ended;
    assert.equal(exit, 0, said);
    return said;
  };
  const said = await logIn();
  assert.match(said, /Logged in to http\S+ as alice; the token is kept in/);

  const path = join(cli.folder, 'config', 'chainloop', 'config.json');
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const { token, organization } = JSON.parse(await readFile(path, 'utf8'));
  assert.match(token, /^chl_u_/);
  assert.equal(organization, 'acme');
  assert.ok(!said.includes(token));

  const whoami = await cli.run(['auth', 'whoami']);
  assert.match(whoami.stdout, /alice@example\.com/);
  assert.match(whoami.stdout, /In acme\W+admin/);
  assert.match(whoami.stdout, /Organization\W+acme\W/);
  const elsewhere = await cli.run(['auth', 'whoami', '--organization', 'other']);
  assert.match(elsewhere.stdout, /Organization\W+other, which you are not in: chainloop org use --name NAME/);
  assert.equal((await cli.run(['workflow', 'create', '--name', 'release', '--project', 'app'])).code, 0);
  const members = await cli.run(['org', 'member', 'ls', '--output', 'json']);
  assert.deepEqual(
    JSON.parse(members.stdout).items.map(({ email, role }: { email: string; role: string }) => [email, role]),
    [['alice@example.com', 'admin']],
  );
  const invited = await cli.run(['org', 'member', 'invite', '--email', 'eve@example.com', '--role', 'owner']);
  assert.equal(invited.code, 5, invited.stderr);
  assert.match(invited.stderr, /this needs owner, and 'alice' is admin/);

  const sessions = await cli.run(['auth', 'session', 'ls', '--output', 'json']);
  const [current, ...others] = JSON.parse(sessions.stdout).items;
  assert.deepEqual([current.isCurrent, others], [true, []]);
  const unknown = await cli.run(['auth', 'session', 'revoke', '--id', randomUUID()]);
  assert.match(unknown.stderr, /not one of yours that is open/);

  // A login over this one: nobody has its token any more, so it ends. The trusted root is of the same control plane.
  assert.equal((await cli.run(['trust-root', 'export', '--output', 'root.json'])).code, 0);
  assert.equal((await cli.run(['config', 'set', 'trust-root', 'root.json'])).code, 0);
  assert.match(await logIn(), /The session that was kept here before is ended/);
  const kept = JSON.parse(await readFile(path, 'utf8'));
  assert.deepEqual([kept.organization, kept.trustRoot], ['acme', join(cli.folder, 'root.json')]);
  assert.equal((await cli.run(['auth', 'whoami'], { env: { CHAINLOOP_TOKEN: token } })).code, 5);
  const [newest, ...older] = JSON.parse((await cli.run(['auth', 'session', 'ls', '--output', 'json'])).stdout).items;
  assert.deepEqual([newest.isCurrent, older], [true, []]);

  const [member] = (await api.member.list.query({})).items;
  await api.member.remove.mutate({ id: member?.id ?? '' });
  assert.match((await cli.run(['auth', 'whoami'])).stdout, /Organization\W+none yet: let an owner of one invite you/);
  assert.equal((await cli.run(['auth', 'logout'])).code, 0);
  assert.equal(JSON.parse(await readFile(path, 'utf8')).token, undefined);
  const over = await cli.run(['auth', 'whoami'], { env: { CHAINLOOP_TOKEN: kept.token } });
  assert.equal(over.code, 5);
  assert.match(over.stderr, /you logged out/);
  assert.ok(![token, kept.token].some((secret) => plane.log.join('').includes(secret)));
});

test('code flow, end to end in a headless browser', { timeout: 600_000 }, async (t) => {
  if (!needs(t, 'chromium')) return;
  await using all = await scene('bob@example.com');
  const { cli } = all;
  const login = watch(cli.start(['auth', 'login', '--url-only']));
  const [, address = ''] = await login.until(/Log in with a browser on this machine: (\S+)\n/);
  const browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox', '--disable-gpu'] });
  try {
    const page = await browser.newPage();
    await page.goto(address);
    await page.fill('input[name=login]', 'bob');
    await page.fill('input[name=password]', 'any');
    await page.click('button[type=submit]');
    await page.click('button[type=submit]');
    await page.waitForURL(/^http:\/\/127\.0\.0\.1:\d+\/callback\?/);
    assert.match(await page.innerText('body'), /Go back to the terminal/);
  } finally {
    await browser.close();
  }
  const { code, said } = await login.ended;
  assert.equal(code, 0, said);
  assert.match(said, /Logged in to http\S+ as bob;/);
  assert.match((await cli.run(['auth', 'whoami'])).stdout, /In acme\W+admin/);
});

test('who was not invited is told so, by exit code 5, and nothing is kept of him', { timeout: 600_000 }, async () => {
  await using all = await scene('alice@example.com');
  const { cli } = all;
  const login = watch(cli.start(['auth', 'login', '--device']));
  const [, address = '', code = ''] = await login.until(/open (http\S+) and enter the code (\S+)\n/);
  await createPerson({ user_code: code, login: 'mallory', password: 'any', confirm: 'yes' }).walk(address);
  const { code: exit, said } = await login.ended;
  assert.equal(exit, 5, said);
  assert.match(said, /nobody has invited you\. \S+ says mallory@example\.com, verified/);
});
