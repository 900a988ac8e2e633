import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestOf, hexOf } from '../core/digest.ts';
import { refused, startWorkplace, succeeded } from '../test/fakes/workplace.ts';
import { moment } from './moment.ts';

const contract = `schemaVersion: v1
materials:
  - { type: ARTIFACT, name: binary, output: true }
  - { type: ARTIFACT, name: lockfile }
  - { type: STRING, name: version }
`;

test('discover takes a file, a digest, a commit or a run, and draws what each run is of', { timeout: 300_000 }, async () => {
  await using work = await startWorkplace({ contract });
  const { line, operator } = work;
  await using state = await mkdtempDisposable(join(tmpdir(), 'chainloop-state-'));
  const job = { ...work.job, CHAINLOOP_STATE_DIR: state.path };
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', line.folder, '-c', 'user.name=a', '-c', 'user.email=a@example.com', ...args], { encoding: 'utf8' }).trim();
  git('init', '-q');
  git('commit', '-q', '--allow-empty', '-m', 'the first');
  const commit = git('rev-parse', 'HEAD');
  await work.write('app.bin', 'the program');
  await work.write('app.lock', 'what is in it');
  succeeded(await line.run(['attestation', 'init'], { env: job }));
  for (const [name, value] of [
    ['binary', 'app.bin'],
    ['lockfile', 'app.lock'],
    ['version', 'v1\u001b[2J'],
  ] as const) {
    succeeded(await line.run(['attestation', 'add', '--name', name, '--value', value], { env: job }));
  }
  const pushed = succeeded(await line.run(['attestation', 'push', '--output', 'json'], { env: job }));
  const { runId, digest }: { runId: string; digest: string } = JSON.parse(pushed);
  // It is signed after the push; whoever asks for it waits for it.
  const { vsa } = await work.api.verdict.describe.query({ runId });
  const discover = (...args: string[]) => line.run(['discover', ...args], { env: operator });
  const [binary, lockfile] = [digestOf('the program'), digestOf('what is in it')];

  const drawn = succeeded(await discover('app.lock'));
  const time = '\\d\\d \\w{3} \\d\\d \\d\\d:\\d\\d UTC';
  const tree = [
    lockfile,
    `app.lock, 13B, in storage since ${time}`,
    `└─ run ${runId} success, ${time}`,
    '   bedrock/release, as material lockfile',
    '   ├─ contract release \\(revision 1\\)',
    `   ├─ commit ${commit} \\(self-reported\\)`,
    '   ├─ attestation of release',
    `   │  ${digest}`,
    '   ├─ verification summary of the control plane',
    `   │  ${vsa?.digest}`,
    '   ├─ subject binary \\(ARTIFACT\\) app.bin',
    `   │  ${binary}`,
    '   ├─ material lockfile \\(ARTIFACT\\) app.lock',
    `   │  ${lockfile}`,
    '   └─ material version \\(STRING\\) v1\\\\x1b\\[2J',
    '',
  ];
  assert.match(drawn, new RegExp(`^${tree.join('\n')}$`));
  assert.ok(
    drawn.split('\n').every(({ length }) => length <= 80),
    drawn,
  );

  type Answer = { subject: { type: string }; items: { run: { id: string }; touches: unknown }[] };
  for (const [what, type, touches] of [
    [binary, 'digest', [{ role: 'subject', name: 'binary', type: 'ARTIFACT' }]],
    [hexOf(binary).toUpperCase(), 'digest', [{ role: 'subject', name: 'binary', type: 'ARTIFACT' }]],
    ['./app.bin', 'digest', [{ role: 'subject', name: 'binary', type: 'ARTIFACT' }]],
    [digest, 'digest', [{ role: 'attestation' }]],
    [vsa?.digest ?? '', 'digest', [{ role: 'vsa' }]],
    [commit, 'commit', [{ role: 'commit' }]],
    [`sha1:${commit}`, 'commit', [{ role: 'commit' }]],
    [runId, 'run', [{ role: 'run' }]],
  ] as const) {
    const { subject, items }: Answer = JSON.parse(succeeded(await discover(what, '--output', 'json')));
    assert.deepEqual([subject.type, items.map(({ run }) => run.id), items[0]?.touches], [type, [runId], touches], what);
  }

  // A job that fails says what it had: the gate and discover lead to its run.
  await work.write('broken.bin', 'a broken program');
  succeeded(await line.run(['attestation', 'init'], { env: job }));
  succeeded(await line.run(['attestation', 'add', '--name', 'binary', '--value', 'broken.bin'], { env: job }));
  succeeded(await line.run(['attestation', 'reset', '--trigger', 'failed', '--reason', 'the tests failed'], { env: job }));
  refused(
    await line.run(['verify', 'broken.bin'], { env: operator }),
    3,
    /found run \S+ of bedrock\/release, which ended as failed \(the tests failed\); attest the artifact in another run of bedrock\/release/,
  );
  assert.match(
    succeeded(await discover('broken.bin')),
    /run \S+ failed, .*\n {3}bedrock\/release, as material binary\n.*\n(?:.*commit.*\n)? {3}├─ no attestation: what it brought is evidence of nothing\n/,
  );

  await writeFile(join(line.folder, 'other.bin'), 'another program');
  const none = await discover('other.bin');
  assert.match(none.stderr, /no run of this organization touches digest sha256:/);
  assert.equal(succeeded(none), `${digestOf('another program')}\n`);
  refused(await discover('absent.bin'), 2, /'absent.bin' is no digest, commit or id of a run, and no such file; an image is written/);
  refused(await discover(commit.slice(0, 12)), 2, /if it is a commit, give its whole id: git rev-parse/);

  const ls = async (...args: string[]): Promise<string[]> => {
    const { items }: { items: { id: string }[] } = JSON.parse(
      succeeded(await line.run(['run', 'ls', '--output', 'json', ...args], { env: operator })),
    );
    return items.map(({ id }) => id);
  };
  assert.deepEqual(await ls('--commit', commit, '--contract', 'release', '--since', '1h'), [runId]);
  assert.deepEqual(await ls('--until', '1h'), []);
  assert.deepEqual(await ls('--runner', 'none', '--state', 'success'), [runId]);
  assert.deepEqual(await ls('--runner', 'JENKINS_JOB'), []);
  refused(
    await line.run(['run', 'ls', '--since', 'yesterday', '--commit', 'main'], { env: operator }),
    2,
    /2 options/,
    /is no time/,
    /whole id of the commit/,
  );
});

test('a time is an instant, a date, or how long ago', () => {
  const { read } = moment('x');
  assert.equal(read('2026-11-23T10:00:00+02:00', 'since'), '2026-11-23T08:00:00.000Z');
  assert.equal(read('2026-11-23', 'since'), '2026-11-23T00:00:00.000Z');
  assert.equal(read(undefined, 'since'), undefined);
  const ago = Date.now() - Date.parse(read('7d', 'since') ?? '');
  assert.ok(Math.abs(ago - 7 * 86_400_000) < 10_000);
  for (const word of ['yesterday', '2026-13-01', '0h', '24', '-1h', '1y', '2026-11-23 10:00', '2026-11-23T10:00:00']) {
    assert.throws(() => read(word, 'since'), { code: 'USAGE' }, word);
  }
});
