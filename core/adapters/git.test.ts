import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { remoteUrl } from '../git-commit.ts';
import { createGit } from './git.ts';

const root = mkdtempSync(join(tmpdir(), 'chainloop-git-'));
after(() => rmSync(root, { recursive: true, force: true }));

const env = {
  PATH: process.env.PATH,
  HOME: root,
  GIT_AUTHOR_NAME: 'Ada Lovelace',
  GIT_AUTHOR_EMAIL: 'ada@example.com',
  GIT_AUTHOR_DATE: '2026-11-23T08:00:00Z',
  GIT_COMMITTER_NAME: 'CI',
  GIT_COMMITTER_EMAIL: 'ci@example.com',
};
const withGit = createGit({ env });
const withoutGit = createGit({ env, program: join(root, 'no-such-program') });

let count = 0;
function repository(...init: readonly string[]): { path: string; git: (...args: readonly string[]) => string } {
  const path = join(root, `r${++count}`);
  mkdirSync(path);
  const git = (...args: readonly string[]) => execFileSync('git', args, { cwd: path, env, encoding: 'utf8', stdio: 'pipe' }).trim();
  git('init', '-q', '-b', 'main', ...init);
  return { path, git };
}
function committed(...init: readonly string[]): ReturnType<typeof repository> {
  const made = repository(...init);
  made.git('commit', '-q', '--allow-empty', '-m', 'release: 1.0\n\nmore words');
  return made;
}

test('the commit is described, with its author and the first line of its message', async () => {
  const { path, git } = committed();
  git('remote', 'add', 'origin', 'https://github.com/acme/app.git');
  assert.deepEqual(await withGit.head(path), {
    commit: git('rev-parse', 'HEAD'),
    authorName: 'Ada Lovelace',
    authorEmail: 'ada@example.com',
    date: '2026-11-23T08:00:00.000Z',
    message: 'release: 1.0',
    remotes: [{ name: 'origin', url: 'https://github.com/acme/app.git' }],
  });
});

test('a folder inside of a checkout is at the same commit', async () => {
  const { path, git } = committed();
  mkdirSync(join(path, 'src'));
  assert.equal((await withGit.head(join(path, 'src')))?.commit, git('rev-parse', 'HEAD'));
  assert.equal((await withoutGit.head(join(path, 'src')))?.commit, git('rev-parse', 'HEAD'));
});

test('without the git program, commit and remotes are still known', async () => {
  const { path, git } = committed();
  git('remote', 'add', 'origin', 'git@github.com:acme/app.git');
  const expected = { commit: git('rev-parse', 'HEAD'), remotes: [{ name: 'origin', url: 'git@github.com:acme/app.git' }] };
  assert.deepEqual(await withoutGit.head(path), expected);
  git('pack-refs', '--all');
  assert.deepEqual(await withoutGit.head(path), expected);
  git('checkout', '-q', '--detach');
  assert.deepEqual(await withoutGit.head(path), expected);
});

test('a checkout of another user is read without running git in it', {
  skip: process.getuid?.() !== 0 && 'needs root to make one',
}, async () => {
  const { path, git } = committed();
  const commit = git('rev-parse', 'HEAD');
  execFileSync('chown', ['-R', '4711', path]);
  assert.deepEqual(await withGit.head(path), { commit, remotes: [] });
});

test('both parents of a merge commit are recorded (lessons.md, 21)', async () => {
  const { path, git } = committed();
  git('checkout', '-q', '-b', 'proposed');
  git('commit', '-q', '--allow-empty', '-m', 'proposed');
  const proposed = git('rev-parse', 'HEAD');
  git('checkout', '-q', 'main');
  const base = git('rev-parse', 'HEAD');
  git('merge', '-q', '--no-ff', '-m', 'merge', 'proposed');
  assert.deepEqual((await withGit.head(path))?.parents, [base, proposed]);
});

test('a SHA-256 repository has a commit of 64 digits', async () => {
  const { path, git } = committed('--object-format=sha256');
  const commit = git('rev-parse', 'HEAD');
  assert.equal(commit.length, 64);
  assert.equal((await withGit.head(path))?.commit, commit);
  assert.equal((await withoutGit.head(path))?.commit, commit);
});

test('a linked worktree is at its own commit', async () => {
  const { path, git } = committed();
  git('remote', 'add', 'origin', 'https://example.com/a.git');
  git('worktree', 'add', '-q', '-b', 'other', join(root, 'worktree'));
  execFileSync('git', ['commit', '-q', '--allow-empty', '-m', 'other'], { cwd: join(root, 'worktree'), env });
  const commit = git('rev-parse', 'other');
  assert.notEqual(commit, git('rev-parse', 'main'));
  for (const git of [withGit, withoutGit]) {
    const head = await git.head(join(root, 'worktree'));
    assert.equal(head?.commit, commit);
    assert.deepEqual(head?.remotes, [{ name: 'origin', url: 'https://example.com/a.git' }]);
  }
  assert.notEqual((await withGit.head(path))?.commit, commit);
});

test('a folder that is no checkout, or has no commit yet, has no head', async () => {
  const { path } = repository();
  for (const git of [withGit, withoutGit]) {
    assert.equal(await git.head(root), undefined);
    assert.equal(await git.head(path), undefined);
  }
});

test('GIT_DIR of the caller does not turn one workspace into another', async () => {
  const [here, there] = [committed(), repository()];
  there.git('commit', '-q', '--allow-empty', '-m', 'another');
  const git = createGit({ env: { ...env, GIT_DIR: join(there.path, '.git') } });
  assert.equal((await git.head(here.path))?.commit, here.git('rev-parse', 'HEAD'));
});

test('nothing that a repository configures is run', async () => {
  const { path, git } = committed();
  const trap = join(path, 'trap');
  writeFileSync(trap, `#!/bin/sh\ntouch ${join(path, 'trapped')}\n`);
  chmodSync(trap, 0o755);
  for (const key of ['core.fsmonitor', 'core.pager', 'core.sshCommand', 'gpg.program', 'diff.external', 'core.hooksPath'])
    git('config', key, trap);
  git('config', 'log.showSignature', 'true');
  assert.ok(await withGit.head(path));
  assert.equal(execFileSync('ls', [path], { encoding: 'utf8' }).includes('trapped'), false);
});

test('text of a commit is short, and has nothing that a terminal acts on', async () => {
  const { path, git } = repository();
  git('commit', '-q', '--allow-empty', '-m', `\u001b[31mred ${'x'.repeat(400)}`);
  const message = (await withGit.head(path))?.message ?? '';
  assert.equal(message.includes('\u001b'), false);
  assert.equal(message.length, 256);
  git('commit', '-q', '--allow-empty', '-m', `x${'😀'.repeat(200)}`);
  assert.ok((await withGit.head(path))?.message?.isWellFormed());
});

const remotes = [
  ['https://github.com/acme/app.git', 'https://github.com/acme/app.git'],
  ['https://user:secret@github.com/acme/app.git', 'https://github.com/acme/app.git'],
  ['https://ghp_token@github.com/acme/app', 'https://github.com/acme/app'],
  ['https://git@github.com/acme/app', 'https://github.com/acme/app'],
  ['https://host:8443/a?token=secret#secret', 'https://host:8443/a'],
  ['ssh://git@github.com/acme/app.git', 'ssh://git@github.com/acme/app.git'],
  ['ssh://git:secret@github.com:22/acme/app.git', 'ssh://git@github.com:22/acme/app.git'],
  ['git@github.com:acme/app.git', 'git@github.com:acme/app.git'],
  ['token@github.com:acme/app.git', 'github.com:acme/app.git'],
  ['git://example.com/a.git', 'git://example.com/a.git'],
  ['/srv/git/app.git', undefined],
  ['../app', undefined],
  ['file:///srv/git/app.git', undefined],
  ['C:\\code\\app', undefined],
  ['ext::sh -c touch% /tmp/x', undefined],
  [`https://example.com/${'a'.repeat(3000)}`, undefined],
] as const;
for (const [url, published] of remotes) {
  test(`the remote ${url.slice(0, 50)} is published as ${published ?? 'nothing'}`, () => assert.equal(remoteUrl(url), published));
}
