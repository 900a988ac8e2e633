import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { busyMs } from '../test/busy.ts';
import { parseBinding } from './binding.ts';
import type { IssuerKind } from './claims.ts';
import { isChainloopError } from './errors.ts';

const issuers: ReadonlyMap<string, IssuerKind> = new Map([
  ['https://token.actions.githubusercontent.com', 'github'],
  ['https://gitlab.com', 'gitlab'],
]);

const known = { issuers, organization: 'acme' };

const full = `workflow: acme/app/release
issuer: https://token.actions.githubusercontent.com
repository: acme/app
repositoryId: "456789"
ownerId: "123456"
refs: [refs/heads/main, refs/tags/v*]
environment: release
events: [push, release]
workflowRef: .github/workflows/release.yml
jobWorkflowRef: chainloop/attest/.github/workflows/attest.yml@refs/tags/v1*
runnerEnvironment: github-hosted
`;

const minimal = { workflow: 'app/release', issuer: 'https://gitlab.com', repository: 'group/sub/app', refs: ['refs/heads/main'] };

function problemsOf(text: string): readonly string[] {
  try {
    parseBinding(text, 'yaml', known);
  } catch (error) {
    assert.ok(isChainloopError(error, 'USAGE'), String(error));
    return error.problems.map(({ path, line, message }) => `${line} ${path}: ${message}`);
  }
  return assert.fail('it was accepted');
}

test('every key of a binding is understood', () => {
  assert.deepEqual(parseBinding(full, 'yaml', known), {
    project: 'app',
    workflow: 'release',
    issuer: 'https://token.actions.githubusercontent.com',
    repository: 'acme/app',
    ids: { repositoryId: '456789', ownerId: '123456' },
    refs: ['refs/heads/main', 'refs/tags/v*'],
    environment: 'release',
    events: ['push', 'release'],
    workflowRef: '.github/workflows/release.yml',
    jobWorkflowRef: 'chainloop/attest/.github/workflows/attest.yml@refs/tags/v1*',
    runnerEnvironment: 'github-hosted',
  });
});

test('another organization than the own is refused where it stands', () => {
  assert.deepEqual(problemsOf(full.replace('acme/app/release', 'other/app/release')), [
    "1 workflow: names organization 'other'; you work in 'acme'",
  ]);
});

test('without events, only those that run what the repository itself says', () => {
  const { ids, events } = parseBinding(JSON.stringify(minimal), 'json', known);
  assert.equal(ids, undefined);
  assert.deepEqual(events, ['push', 'web', 'schedule']);
  const github = parseBinding(full.replace(/^events.*\n/m, ''), 'yaml', known);
  assert.deepEqual(github.events, ['push', 'release', 'workflow_dispatch', 'schedule']);
});

test('all problems are said at once, each with its line', () => {
  const wrong = `workflow: release
issuer: https://evil.example.com
repository: acme
repositoryId: 456789
refs: [main, "refs/*", "refs/heads/*/x", ""]
enviroment: release
events: []
jobWorkflowRef: chainloop/*
`;
  const problems = problemsOf(wrong);
  for (const [line, words] of [
    [1, 'project/workflow'],
    [2, 'does not trust it; it trusts https://token'],
    [3, 'owner/name'],
    [4, 'put it in quotes'],
    [5, 'must be a full ref'],
    [6, "did you mean 'environment'"],
    [7, 'name at least one'],
    [8, 'owner/name/.github/workflows/file@ref'],
  ] as const) {
    assert.ok(
      problems.some((problem) => problem.startsWith(`${line} `) && problem.includes(words)),
      `line ${line} (${words}):\n${problems.join('\n')}`,
    );
  }
  assert.equal(problems.filter((problem) => problem.startsWith('5 ')).length, 4);
});

test('what contradicts itself is refused', () => {
  const rows: readonly (readonly [Record<string, unknown>, RegExp])[] = [
    [{ project: 'app' }, /project: the workflow names its project already/],
    [{ repositoryId: '1' }, /repositoryId: give ownerId too/],
    [{ ownerId: '1' }, /ownerId: give repositoryId too/],
    [{ jobWorkflowRef: 'a/b/.github/workflows/c.yml@refs/heads/main' }, /GitLab has no reusable workflows/],
    [{ workflowRef: '.gitlab-ci.yml@refs/heads/main' }, /path of a file, without ref/],
  ];
  for (const [change, words] of rows) assert.match(problemsOf(JSON.stringify({ ...minimal, ...change })).join('\n'), words);
});

test('a star is nowhere but at the end of a ref', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 20 }), fc.string({ minLength: 1, maxLength: 20 }), (before, after) => {
      const refs = [`refs/heads/${before}*${after}`];
      try {
        parseBinding(JSON.stringify({ ...minimal, refs }), 'json', known);
      } catch (error) {
        return isChainloopError(error);
      }
      return false;
    }),
  );
});

test('no pattern of ours takes long over 15 KB', async () => {
  for (const evil of ['a/'.repeat(200), 'refs/heads/'.repeat(80), '-'.repeat(600), `a/b/.github/workflows/${'@'.repeat(900)}`]) {
    const text = JSON.stringify({
      workflow: evil,
      issuer: evil,
      repository: evil,
      refs: Array.from({ length: 10 }, () => evil),
      jobWorkflowRef: evil,
      workflowRef: evil,
    });
    assert.ok((await busyMs(() => problemsOf(text))) < 200);
  }
});
