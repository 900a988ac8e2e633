import assert from 'node:assert/strict';
import { mkdir, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { decodeJwt } from 'jose';
import { startIssuer } from '../issuer.ts';
import { parseCommand } from './commands.ts';
import { parsePairs, summaryLimitBytes } from './environment-files.ts';
import { pullRequestEvent, pushEvent } from './event.ts';
import { condition, evaluate, interpolate } from './expression.ts';
import { type Run, runJob, stepsJob } from './job.ts';
import { createMasker } from './masker.ts';
import { runWorkflow } from './workflow.ts';

/** An action of one program, and a run in which it is `acme/tiny`. */
async function tiny(program: string, more: { readonly yaml?: string; readonly post?: string; readonly run?: Partial<Run> } = {}) {
  const folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-runner-'));
  const root = join(folder.path, 'tiny');
  await mkdir(root);
  const post = more.post === undefined ? '' : '  post: post.cjs\n  post-if: always()\n';
  await writeFile(
    join(root, 'action.yml'),
    `name: tiny\ndescription: of a test\n${more.yaml ?? ''}runs:\n  using: node24\n  main: main.cjs\n${post}`,
  );
  await writeFile(join(root, 'main.cjs'), program);
  if (more.post !== undefined) await writeFile(join(root, 'post.cjs'), more.post);
  const run: Run = { folder: folder.path, github: pushEvent(), sources: { 'acme/tiny': { type: 'repository', root } }, ...more.run };
  return { run, [Symbol.asyncDispose]: () => folder.remove() };
}

const uses = 'acme/tiny@v1';
const write = (file: string, text: string): string => `require('fs').appendFileSync(process.env.GITHUB_${file}, ${JSON.stringify(text)});`;

test('an action sees the variables of the runner, and nothing of whoever runs the tests', async () => {
  process.env.CHAINLOOP_LEAK = 'leak';
  await using action = await tiny("console.log(JSON.stringify(process.env)); console.log('cwd ' + process.cwd());");
  const { steps, workspace, status } = await runJob(action.run, stepsJob([{ uses, env: { OF_STEP: '${{ github.ref }}' } }]));
  delete process.env.CHAINLOOP_LEAK;
  assert.equal(status, 'success');
  const lines = steps[0]?.raw.split('\n') ?? [];
  const env: Record<string, string> = JSON.parse(lines[0] ?? '');
  assert.equal(lines[1], `cwd ${workspace}`);
  assert.equal(env.OF_STEP, 'refs/heads/main');
  assert.equal(env.GITHUB_REPOSITORY_ID, '456789');
  assert.equal(env.GITHUB_REF_PROTECTED, 'true');
  assert.equal(env.GITHUB_ACTION_REPOSITORY, 'acme/tiny');
  assert.equal(env.RUNNER_OS, 'Linux');
  assert.deepEqual(
    Object.keys(env)
      .filter((name) => !/^(GITHUB_|RUNNER_|ACTIONS_(RUNTIME|RESULTS)_|INPUT_)/.test(name))
      .toSorted(),
    ['CI', 'HOME', 'LANG', 'OF_STEP', 'PATH'],
  );
  assert.ok(!('GITHUB_TOKEN' in env), 'a token is given to an action, or it has none');
  assert.ok(!('ACTIONS_ID_TOKEN_REQUEST_URL' in env), 'without an issuer there is no endpoint');
});

test('inputs keep hyphens, take defaults by the contexts of defaults alone, and warn of what is unknown', async () => {
  const yaml = `inputs:
  job-status: { description: s, default: "\${{ job.status }}" }
  matrix: { description: m, default: "\${{ toJson(matrix) }}" }
  'with space': { description: w, default: 7 }
  none: { description: n }
`.replace("'with space'", 'with_space');
  await using action = await tiny('console.log(JSON.stringify(process.env));', { yaml });
  const job = stepsJob([{ uses, with: { None: 'given ${{ matrix.arch }}', typo: 'x' } }]);
  const { steps } = await runJob(action.run, job, { contexts: { matrix: { arch: 'arm64' } } });
  const env: Record<string, string> = JSON.parse(steps[0]?.raw ?? '');
  const inputs = Object.fromEntries(Object.entries(env).filter(([name]) => name.startsWith('INPUT_')));
  assert.deepEqual(inputs, {
    'INPUT_JOB-STATUS': 'success',
    INPUT_MATRIX: '{\n  "arch": "arm64"\n}',
    INPUT_WITH_SPACE: '7',
    INPUT_NONE: 'given arm64',
    INPUT_TYPO: 'x',
  });
  assert.match(steps[0]?.annotations[0]?.message ?? '', /^Unexpected input\(s\) 'typo', valid inputs are \['job-status'/);

  await using bad = await tiny('', { yaml: 'inputs:\n  x: { description: x, default: "${{ secrets.y }}" }\n' });
  const refused = await runJob(bad.run, stepsJob([{ uses }]));
  assert.match(refused.log, /Unrecognized named-value: 'secrets'/);
});

test('the post sees the state of its own step, the environment of all, and how the job ended', async () => {
  const main = `${write('STATE', 'a<<X\none\ntwo\nX\n')}${write('ENV', 'SHARED=yes\n')}process.exitCode = 1;`;
  const yaml = 'inputs:\n  job-status: { description: s, default: "${{ job.status }}" }\n';
  await using action = await tiny(main, { yaml, post: 'console.log(JSON.stringify(process.env));' });
  const { status, steps, posts } = await runJob(
    action.run,
    stepsJob([{ id: 'one', uses }, { run: 'echo never' }, { run: 'echo $SHARED', if: 'always()' }]),
  );
  assert.equal(status, 'failure');
  assert.deepEqual(
    steps.map(({ outcome }) => outcome),
    ['failure', 'skipped', 'success'],
  );
  assert.equal(steps[2]?.raw, 'yes');
  const env: Record<string, string> = JSON.parse(posts[0]?.raw ?? '');
  assert.equal(env.STATE_a, 'one\ntwo');
  assert.equal(env['INPUT_JOB-STATUS'], 'failure');
  assert.equal(env.SHARED, 'yes');
});

test('posts run in reverse order, and one that fails fails the job', async () => {
  await using action = await tiny('', {
    yaml: 'inputs:\n  n: { description: n }\n',
    post: "console.log(process.env.INPUT_N); process.exit(process.env.INPUT_N === '1' ? 3 : 0);",
  });
  const { status, posts } = await runJob(
    action.run,
    stepsJob([
      { uses, with: { n: '1' } },
      { uses, with: { n: '2' } },
    ]),
  );
  assert.deepEqual(
    posts.map(({ raw, exitCode }) => `${raw} ${exitCode}`),
    ['2 0', '1 3'],
  );
  assert.equal(status, 'failure');
});

test('outputs reach later steps and the job; continue-on-error leaves the outcome as it is', async () => {
  await using action = await tiny(`${write('OUTPUT', 'multi<<gh\na\n\nb\ngh\nplain=x=y\n')}process.exit(1)`);
  const job = stepsJob(
    [
      { id: 'a', uses, 'continue-on-error': true },
      { run: 'echo "${{ steps.a.outputs.plain }} ${{ steps.a.outcome }} ${{ steps.a.conclusion }}"' },
    ],
    {
      outputs: { multi: '${{ steps.a.outputs.multi }}' },
    },
  );
  const { status, steps, outputs } = await runJob(action.run, job);
  assert.equal(status, 'success');
  assert.equal(steps[1]?.raw, 'x=y failure success');
  assert.deepEqual(outputs, { multi: 'a\n\nb' });
});

test('a file of outputs that breaks off fails the step, as the runner does', () => {
  assert.deepEqual(
    [...parsePairs('a=1\n\nb<<E\nx=y\nc<<E\nE\nd=\n')],
    [
      ['a', '1'],
      ['b', 'x=y\nc<<E'],
      ['d', ''],
    ],
  );
  for (const [text, says] of [
    ['=x\n', /Name must not be empty/],
    ['nothing\n', /Invalid format 'nothing'/],
    ['a<<\n', /delimiter must not be empty/],
    ['a<<E\nx\n', /Matching delimiter not found 'E'/],
    ['a<<E\nx', /EOF marker missing new line/],
  ] as const)
    assert.throws(() => parsePairs(text), says);
});

test('NODE_OPTIONS cannot be left to later steps', async () => {
  await using action = await tiny(write('ENV', 'NODE_OPTIONS=--require /tmp/x\n'));
  const { steps } = await runJob(action.run, stepsJob([{ uses }, { run: 'echo "<$NODE_OPTIONS>"' }]));
  assert.match(steps[0]?.log ?? '', /Can't store NODE_OPTIONS/);
  assert.equal(steps[1]?.raw, '<>');
});

test('a mask hides a secret, its lines and its encodings in log and summary, from the line on at which it was added', async () => {
  const secret = 'multi-line\nsecret"value';
  const program = `console.log('::add-mask::multi-line%0Asecret"value'); console.log('a multi-line b'); console.log(${JSON.stringify(Buffer.from(`xy${secret}`).toString('base64'))});
${write('STEP_SUMMARY', '| secret"value |\n')}`;
  await using action = await tiny(program);
  const { steps, log } = await runJob(action.run, stepsJob([{ uses }]));
  assert.match(log, /^a \*\*\* b$/m);
  assert.ok(!log.includes('add-mask'));
  assert.equal(steps[0]?.summary, '| *** |\n');
  const masker = createMasker();
  masker.add('token');
  masker.add('kento');
  assert.equal(masker.mask('a tokento z token'), 'a *** z ***');
});

test('workflow commands are seen on both streams, after a lone carriage return too, and not while they are stopped', async () => {
  const program = String.raw`
process.stderr.write('  ::error title=A%2C b,file=x.ts,line=7::first%0Asecond\n');
process.stdout.write('harmless\r::set-output name=evil::1\n');
console.log('text ##[warning]old');
console.log('::stop-commands::word-1'); console.log('::error::not seen'); console.log('::word-1::');
console.log('::group::G'); console.log('::endgroup::'); console.log('::unknown::x');`;
  await using action = await tiny(program);
  const [step] = (await runJob(action.run, stepsJob([{ uses }]))).steps;
  // Of two streams, which comes first is chance.
  assert.deepEqual(
    step?.annotations.toSorted((a, b) => a.level.localeCompare(b.level)),
    [
      { level: 'error', message: 'first\nsecond', title: 'A, b', file: 'x.ts', line: 7 },
      { level: 'warning', message: 'old', title: undefined, file: undefined, line: undefined },
    ],
  );
  assert.deepEqual(step?.outputs, { evil: '1' });
  assert.deepEqual(step?.groups, ['G']);
  assert.match(step?.log ?? '', /^::error::not seen$/m);
  assert.equal(parseCommand('see ::error::x'), undefined);
});

test('set-env and add-path are refused and fail the step; a summary over a mebibyte is left out; ten errors are shown', async () => {
  await using action = await tiny(`console.log('::set-env name=A::1'); for (let i = 0; i < 12; i++) console.log('::error::' + i);
require('fs').writeFileSync(process.env.GITHUB_STEP_SUMMARY, 'x'.repeat(${summaryLimitBytes + 1}));`);
  const [step] = (await runJob(action.run, stepsJob([{ uses }]))).steps;
  assert.equal(step?.outcome, 'failure');
  assert.equal(step?.summary, '');
  assert.equal(step?.annotations.length, 10);
  assert.match(step?.log ?? '', /upload aborted/);
});

test('cancellation sends SIGINT, later steps are left out, and the post runs with the status cancelled', async () => {
  const cancel = new AbortController();
  const main =
    "process.on('SIGINT', () => { console.log('interrupted'); process.exit(130); }); console.log('ready'); setInterval(() => {}, 1000);";
  await using action = await tiny(main, {
    yaml: 'inputs:\n  s: { description: s, default: "${{ job.status }}" }\n',
    post: 'console.log(process.env.INPUT_S);',
  });
  const { status, steps, posts } = await runJob(
    action.run,
    stepsJob([{ uses }, { run: 'echo no' }, { run: 'echo yes', if: 'cancelled()' }]),
    {
      cancel: cancel.signal,
      onLine: (line) => void (line === 'ready' && cancel.abort()),
    },
  );
  assert.equal(status, 'cancelled');
  assert.deepEqual(
    steps.map(({ outcome, raw }) => `${outcome} ${raw}`),
    ['cancelled ready\ninterrupted', 'skipped ', 'success yes'],
  );
  assert.equal(posts[0]?.raw, 'cancelled');
});

test('a token is given only with id-token: write, names the job, and is the job’s own', async () => {
  await using issuer = await startIssuer();
  const ask = `const { ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: token } = process.env;
if (url === undefined) console.log('none');
else fetch(url + '&audience=me', { headers: { authorization: 'Bearer ' + token } }).then((r) => r.json()).then(({ value }) => console.log(value));`;
  await using action = await tiny(ask, { run: { issuer, claims: { run_attempt: '2' } } });
  const { steps, secrets } = await runJob(action.run, stepsJob([{ uses }], { environment: 'release' }));
  const claims = decodeJwt(steps[0]?.raw ?? '');
  assert.equal(claims.aud, 'me');
  assert.equal(claims.sub, 'repo:acme@123456/app@456789:environment:release');
  assert.equal(claims.run_attempt, '2');
  assert.ok(secrets.includes(steps[0]?.raw ?? 'none'));
  const without = await runJob(action.run, stepsJob([{ uses }], { permissions: { contents: 'read' } }));
  assert.equal(without.steps[0]?.raw, 'none');
});

test('parallel steps run at once, background ones until they are waited for', async () => {
  await using action = await tiny('');
  const meet = (mine: string, other: string): string =>
    `touch $RUNNER_TEMP/${mine}; for i in $(seq 100); do [ -e $RUNNER_TEMP/${other} ] && exit 0; sleep 0.05; done; exit 1`;
  const job = stepsJob([
    {
      parallel: [
        { id: 'a', run: meet('a', 'b') },
        { id: 'b', run: meet('b', 'a') },
      ],
    },
    { id: 'service', run: 'trap exit INT; while :; do sleep 0.05; done', background: true },
    { id: 'c', run: 'echo c', background: true },
    { wait: 'c' },
    { run: 'test "${{ steps.c.outcome }}" = success' },
    { cancel: 'service' },
  ]);
  const { status, steps } = await runJob(action.run, job);
  assert.equal(status, 'success');
  assert.deepEqual(steps.map(({ id, outcome }) => `${id ?? ''} ${outcome}`).toSorted(), [
    ' success',
    'a success',
    'b success',
    'c success',
    'service cancelled',
  ]);
});

test('expressions are GitHub’s: no letter case, loose equality, && and || with values, format, contains, fromJSON', () => {
  const contexts = { github: { ref: 'refs/tags/v1', Event: { list: [1, 'b'] } }, inputs: { 'with-hyphen': '' } };
  const scope = { contexts, status: 'success' as const };
  for (const [expression, value] of [
    ["github.REF == 'REFS/tags/v1'", true],
    ["startsWith(github.ref, 'refs/tags/') && 'tag' || 'branch'", 'tag'],
    ["inputs.with-hyphen || 'default'", 'default'],
    ["contains(github.event.list, 'B')", true],
    ['github.event.list[0] < 2', true],
    ["github.event['list'][1]", 'b'],
    ["format('{0}-{1} {{}}', 'it''s', 2)", "it's-2 {}"],
    ['fromJSON(\'{"a":[true]}\').a[0] == 1', true],
    ['github.nothing.at.all', null],
    ['!cancelled()', true],
    ["join(github.event.list, '+')", '1+b'],
  ] as const)
    assert.deepEqual(evaluate(expression, scope), value, expression);
  assert.equal(interpolate("a ${{ '}}' }} ${{ null }}b", scope), 'a }} b');
  assert.equal(condition("github.ref == 'x'", { ...scope, status: 'failure' }), false);
  assert.equal(condition('always() && failure()', { ...scope, status: 'failure' }), true);
  assert.throws(() => evaluate('secret.x', scope), /Unrecognized named-value: 'secret'/);
  assert.throws(() => evaluate('a b', scope), /Unexpected symbol: 'b'/);
});

test('a workflow runs its matrix at once, skips by condition, calls a reusable workflow, and hands outputs on', async () => {
  await using action = await tiny('console.log(process.env.GITHUB_JOB)');
  const root = join(action.run.folder, 'called');
  await mkdir(join(root, 'tiny'), { recursive: true });
  for (const name of ['action.yml', 'main.cjs'])
    await writeFile(join(root, 'tiny', name), await readFile(join(action.run.folder, 'tiny', name)));
  const called = `on:
  workflow_call:
    inputs: { word: { type: string, required: true } }
    outputs: { said: { value: "\${{ jobs.inner.outputs.said }}" } }
jobs:
  inner:
    runs-on: ubuntu-latest
    outputs: { said: "\${{ steps.s.outputs.said }}" }
    steps:
      - uses: $/tiny
      - id: s
        run: echo "said=\${{ inputs.word }}!" >> "$GITHUB_OUTPUT"
`;
  await writeFile(join(root, 'called.yml'), called);
  const text = `on: push
jobs:
  build:
    runs-on: ubuntu-latest
    strategy: { matrix: { arch: [amd64, arm64], include: [{ arch: riscv }] } }
    steps: [{ run: "echo \${{ matrix.arch }}" }]
  call:
    needs: [build]
    uses: acme/called/called.yml@v1
    with: { word: "hello \${{ needs.build.result }}" }
  last:
    needs: call
    runs-on: ubuntu-latest
    steps: [{ run: "echo '\${{ needs.call.outputs.said }}'" }]
  never:
    needs: build
    if: github.ref == 'refs/heads/other'
    runs-on: ubuntu-latest
    steps: [{ run: exit 1 }]
`;
  const sources = { ...action.run.sources, 'acme/called': { type: 'repository' as const, root } };
  const { status, jobs } = await runWorkflow({ ...action.run, sources }, text);
  assert.equal(status, 'success');
  assert.deepEqual(Object.keys(jobs).toSorted(), ['build (amd64)', 'build (arm64)', 'build (riscv)', 'call / inner', 'last']);
  assert.equal(jobs.last?.raw, 'hello success!');
  assert.equal(jobs['call / inner']?.steps[0]?.raw, 'inner');
});

test('a pull request from a fork says so in its event', () => {
  const { event } = pullRequestEvent({ fork: true });
  assert.equal(evaluate('github.event.pull_request.head.repo.fork', { contexts: { github: { event: event ?? null } } }), true);
});
