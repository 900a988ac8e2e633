import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Crafting } from '../core/crafting.ts';
import { ChainloopError } from '../core/errors.ts';
import { type Found, nothingFound } from './outcome.ts';
import { inputTerms, messageOf, problemLine, reasonOf, titleOf } from './words.ts';

const crafting: Crafting = {
  start: {
    version: 1,
    identity: {
      organization: 'acme',
      project: 'app',
      team: '',
      workflowId: '',
      workflowName: 'release',
      runId: '',
      contractName: 'release',
      contractRevision: 3,
    },
    contract: {
      materials: [
        { name: 'binary', type: 'ARTIFACT', optional: false, output: true, skipUpload: false, annotations: [] },
        { name: 'sbom', type: 'SBOM_CYCLONEDX_JSON', optional: false, output: false, skipUpload: false, annotations: [] },
      ],
      envAllowList: [],
      annotations: [],
    },
    runner: { authenticated: true },
    env: {},
    initializedAt: '',
    dryRun: false,
    controlPlane: '',
    annotations: {},
  },
  materials: [{ name: 'binary', type: 'ARTIFACT', uploaded: true, annotations: {} }],
};
const found: Found = { ...nothingFound(), crafting };
const required = "material 'sbom' is required; add it with: chainloop attestation add --name sbom --value <path>";

test('what is missing is said once, with its kind', () => {
  const error = new ChainloopError('CONTRACT_NOT_SATISFIED', `contract: ${required}`, { problems: [{ message: required }] });
  assert.equal(titleOf(error, 'release@3'), 'Chainloop: contract "release@3" not satisfied');
  assert.equal(messageOf(error, found), 'missing: sbom (SBOM_CYCLONEDX_JSON)');
  assert.equal(reasonOf(error, found), 'missing sbom');
});

test('other problems of the same contract stand below', () => {
  const other = "attestation: annotation 'ticket' is required; give it with: chainloop attestation push --annotation ticket=<value>";
  const error = new ChainloopError('CONTRACT_NOT_SATISFIED', 'contract: not satisfied, 2 problems', {
    problems: [{ message: required }, { message: other }],
  });
  assert.equal(
    messageOf(error, found),
    "missing: sbom (SBOM_CYCLONEDX_JSON)\nattestation: annotation 'ticket' is required; add to annotations: ticket=<value>",
  );
});

test('what this step has brought is not called missing, whatever else is wrong', () => {
  const error = new ChainloopError('CONTRACT_NOT_SATISFIED', "contract: no annotation 'x'");
  assert.equal(messageOf(error, { ...found, given: ['sbom'] }), "contract: no annotation 'x'");
});

test('advice for a command line becomes advice for a workflow file', () => {
  assert.equal(inputTerms(required), "material 'sbom' is required; add to materials: sbom=<path>");
  assert.equal(inputTerms('x; sign with --key'), 'x; sign with signing: key');
  assert.equal(inputTerms('401 for chl_sa_abc123: refused'), '401 for [redacted]: refused');
  assert.equal(inputTerms('token eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.c2ln is old'), 'token [redacted] is old');
});

test('a problem says where it is', () => {
  assert.equal(problemLine({ path: 'workflow', message: 'is no name' }), 'workflow: is no name');
  assert.equal(
    problemLine({ path: 'binary', line: 3, message: 'material "binary": no such file x' }),
    'materials line 3: material "binary": no such file x',
  );
  assert.equal(problemLine({ file: 'list', line: 3, message: 'x' }), 'list line 3: x');
});

test('every code has a title', () => {
  assert.equal(titleOf(new ChainloopError('NO_BINDING', 'x'), undefined), 'Chainloop: no binding lets this job in');
  assert.equal(titleOf(new ChainloopError('DISK_FULL', 'x'), undefined), 'Chainloop: failed');
  const materials = new ChainloopError('FILE_NOT_FOUND', 'x', { problems: [{ path: 'binary', line: 1, message: 'x' }] });
  assert.equal(titleOf(materials, 'release@3'), 'Chainloop: materials are not right');
});
