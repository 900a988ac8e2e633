import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildLevel } from './build-level.ts';
import type { JobClaims } from './claims.ts';
import { digestOf, hexOf } from './digest.ts';
import { isChainloopError } from './errors.ts';
import { limits } from './limits.ts';
import { buildProvenance } from './provenance.ts';
import { buildVsa, parseVsa, type VerdictFacts, verdictSubjects, vsaExtension } from './verdict.ts';

const commit = '9a96775da456e595f242bb9b5826cf46d8dd5d81';
const reusable = `acme/builders/.github/workflows/build.yml@${commit}`;
const claims: JobClaims = {
  kind: 'github',
  issuer: 'https://token.actions.githubusercontent.com',
  repository: 'acme/app',
  repositoryId: '456789',
  owner: 'acme',
  ownerId: '123456',
  ref: 'refs/heads/main',
  commit: 'b'.repeat(40),
  actor: 'alice',
  event: 'push',
  workflowRef: 'acme/app/.github/workflows/release.yml@refs/heads/main',
  jobWorkflowRef: reusable,
  runnerEnvironment: 'github-hosted',
  runId: '1536140711',
  runUrl: 'https://github.com/acme/app/actions/runs/1536140711/attempts/1',
  san: `https://github.com/${reusable}`,
  fulcio: { 10: commit, 12: 'https://github.com/acme/app' },
};
const facts: VerdictFacts = {
  origin: 'https://chainloop.example.com',
  run: {
    id: 'a6ec0229-7796-46fc-8df2-a03f4bddab47',
    state: 'success',
    ...{ organization: 'acme', project: 'bedrock', workflow: 'release', contractName: 'release', contractRevision: 3 },
    contractDigest: digestOf('contract'),
    acceptedAt: new Date('2026-11-23T09:00:00.123Z'),
  },
  attestation: digestOf('bundle'),
  subjects: [
    { name: 'git.head', digest: { sha1: commit } },
    { name: 'binary', digest: { sha256: hexOf(digestOf('binary')) } },
  ],
  build: { level: 2, reasons: ['It ran elsewhere.'] },
};
const text = Buffer.from(buildVsa(facts)).toString();

test('a verification summary says who verified what, when, by which policy, from which attestation, and how well it was built', () => {
  assert.deepEqual(JSON.parse(text), {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [
      { name: 'git.head', digest: { sha1: commit } },
      { name: 'binary', digest: { sha256: hexOf(digestOf('binary')) } },
    ],
    predicateType: 'https://slsa.dev/verification_summary/v1',
    predicate: {
      verifier: { id: 'https://chainloop.example.com/verifier' },
      timeVerified: '2026-11-23T09:00:00.123Z',
      resourceUri: 'https://chainloop.example.com/organizations/acme/projects/bedrock/workflows/release',
      policy: {
        uri: 'https://chainloop.example.com/organizations/acme/contracts/release/revisions/3',
        digest: { sha256: hexOf(digestOf('contract')) },
      },
      inputAttestations: [
        { uri: `https://chainloop.example.com/v2/acme/blobs/${digestOf('bundle')}`, digest: { sha256: hexOf(digestOf('bundle')) } },
      ],
      verificationResult: 'PASSED',
      verifiedLevels: ['SLSA_BUILD_LEVEL_2'],
      slsaVersion: '1.2',
      [vsaExtension]: { runId: 'a6ec0229-7796-46fc-8df2-a03f4bddab47', reasons: ['It ran elsewhere.'] },
    },
  });
  assert.deepEqual(parseVsa(Buffer.from(text)), JSON.parse(text));
});

test('the same facts give the same bytes, in whatever order their keys are', () => {
  const turned = Object.fromEntries(Object.entries(claims).toReversed());
  const times = { startedAt: new Date(0), finishedAt: new Date(1), subjects: facts.subjects };
  assert.deepEqual(buildProvenance({ ...times, claims: { ...claims, ...turned } }), buildProvenance({ claims, ...times }));
  assert.deepEqual(buildVsa({ ...facts, run: { ...facts.run } }), buildVsa(facts));
});

test('what later versions add to a summary is left alone; what is missing, twice or malformed is refused, with every problem', () => {
  const more = JSON.parse(text);
  more.predicate.dependencyLevels = { SLSA_BUILD_LEVEL_3: 5 };
  more.predicate['https://example.com/more/v1'] = {};
  assert.deepEqual(parseVsa(Buffer.from(JSON.stringify(more))), JSON.parse(text));

  const without = (key: string): string =>
    JSON.stringify({ ...JSON.parse(text), predicate: { ...JSON.parse(text).predicate, [key]: undefined } });
  const refused: readonly (readonly [string, RegExp])[] = [
    ...Object.keys(JSON.parse(text).predicate)
      .filter((key) => key !== vsaExtension)
      .map((key) => [without(key), new RegExp(`predicate.${key}`)] as const),
    [text.replace('PASSED', 'passed'), /verificationResult/],
    [text.replace('verification_summary/v1', 'verification_summary/v0.2'), /predicateType/],
    [text.replace('Statement/v1', 'Statement/v0.1'), /_type/],
    [text.replace(/"subject":\[.*?\]/, '"subject":[]'), /subject is empty/],
    [text.replace('"verificationResult":"PASSED"', '"verificationResult":"FAILED","verificationResult":"PASSED"'), /twice/],
    [text.slice(0, -1), /./],
    ['', /./],
    ['"\ud800"', /./],
  ];
  for (const [bad, message] of refused) {
    assert.throws(
      () => parseVsa(Buffer.from(bad)),
      (error) => isChainloopError(error, 'STATEMENT_INVALID') && message.test(error.message),
      bad.slice(0, 300),
    );
  }
  assert.throws(
    () => parseVsa(new Uint8Array(limits.statementSizeBytes + 1)),
    (error) => isChainloopError(error, 'LIMIT_EXCEEDED'),
  );
});

test('the subjects of a verdict are those of the attestation, under the names of the contract, and nothing that a job says of them', () => {
  const git = { name: 'git.head' as const, digest: { sha1: commit }, annotations: { message: 'lies' } };
  const annotations = { 'chainloop.material.name': 'binary', 'chainloop.material.type': 'ARTIFACT' as const };
  const binary = { name: '../evil', digest: { sha256: 'a'.repeat(64) }, annotations };
  assert.deepEqual(verdictSubjects({ subject: [git, binary] }), [
    { name: 'git.head', digest: { sha1: commit } },
    { name: 'binary', digest: { sha256: 'a'.repeat(64) } },
  ]);
});

test('the level of a run: each thing that is missing caps it, and says so', () => {
  const job = { claims, signedBy: 'job', broughtIn: [reusable] } as const;
  const change = (changed: Partial<JobClaims>) => ({ ...job, claims: { ...claims, ...changed } });
  const rows = [
    [job, 3],
    [{ ...job, broughtIn: [] }, 3],
    [{ ...job, claims: null }, 1, /Only the job itself says where it ran/],
    [{ ...job, signedBy: 'key' }, 1, /signed with a key/],
    [{ ...job, signedBy: 'other' }, 1, /another identity/],
    [{ ...job, broughtIn: [reusable, claims.workflowRef] }, 2, /Jobs outside of the reusable workflow brought evidence/],
    [{ ...job, broughtIn: [null] }, 2, /Jobs outside/],
    [change({ runnerEnvironment: 'self-hosted' }), 2, /runner that is self-hosted/],
    [change({ jobWorkflowRef: claims.workflowRef }), 2, /not of a reusable workflow/],
    [change({ jobWorkflowRef: undefined }), 2, /not of a reusable workflow/],
    [change({ jobWorkflowRef: reusable.replace(/@.*/, '@refs/tags/v1') }), 2, /not pinned by its commit/],
    [change({ jobWorkflowRef: reusable.replace(/@.*/, `@refs/heads/${commit}`) }), 2, /not pinned by its commit/],
    [change({ jobWorkflowRef: reusable.replace(/@.*/, `@refs/heads/x@${commit}`) }), 2, /not pinned by its commit/],
    [change({ fulcio: { ...claims.fulcio, 10: 'c'.repeat(40) } }), 2, /not pinned by its commit/],
    [change({ fulcio: {} }), 2, /not pinned by its commit/],
    [change({ jobWorkflowRef: reusable.replace('acme/builders', 'Acme/App') }), 2, /in the repository that is built/],
    [change({ kind: 'gitlab', runnerEnvironment: 'gitlab-hosted' }), 2, /GitLab does not prove/],
  ] as const;
  for (const [facts, level, reason] of rows) {
    const found = buildLevel(facts);
    assert.equal(found.level, level, String(reason));
    assert.match(found.reasons.join(' '), reason ?? /^$/);
    for (const sentence of found.reasons) assert.match(sentence, /^[A-Z].{10,}/);
  }
});
