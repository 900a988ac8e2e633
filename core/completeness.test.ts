import assert from 'node:assert/strict';
import { test } from 'node:test';
import { releaseContract, releaseCrafting, releaseMaterials, releaseStart } from '../test/fakes/crafting.ts';
import { openProblems, seal, unsatisfied } from './completeness.ts';
import type { CraftedMaterial } from './crafting.ts';
import { digestOf } from './digest.ts';
import { ChainloopError } from './errors.ts';

const found = { ...releaseStart, materials: releaseMaterials };
const messages = (changes: Partial<typeof found>): string[] =>
  unsatisfied(releaseContract, { ...found, ...changes }).map((problem) => problem.message);
const without = (name: string) => releaseMaterials.filter((material) => material.name !== name);
const changed = (name: string, changes: Partial<CraftedMaterial>) =>
  releaseMaterials.map((material) => (material.name === name ? { ...material, ...changes } : material));
const spdx: CraftedMaterial = {
  name: 'sbom-spdx',
  type: 'SBOM_SPDX_JSON',
  digest: digestOf('spdx'),
  fileName: 'spdx.json',
  sizeBytes: 4,
  uploaded: true,
  annotations: {},
};

test('evidence that brings everything satisfies the contract', () => {
  assert.deepEqual(unsatisfied(releaseContract, found), []);
  assert.deepEqual(seal(releaseCrafting), { ...releaseCrafting, type: 'sealed' });
});

const rows = [
  {
    claim: 'a required material that is missing stops push',
    changes: { materials: without('binary') },
    message: "material 'binary' is required; add it with: chainloop attestation add --name binary --value <path>",
  },
  {
    claim: 'a missing text is asked for as text',
    changes: { materials: without('commit') },
    message: "material 'commit' is required; add it with: chainloop attestation add --name commit --value <text>",
  },
  {
    claim: 'a missing image is asked for as an image',
    changes: { materials: without('image') },
    message: "material 'image' is required; add it with: chainloop attestation add --name image --value <image>",
  },
  {
    claim: 'none of a group is one problem, not one for each',
    changes: { materials: without('sbom') },
    message: "one of 'sbom', 'sbom-spdx' (group 'sboms') is required; add one with: chainloop attestation add --name sbom --value <path>",
  },
  {
    claim: 'a material of another kind is refused',
    changes: { materials: changed('binary', { type: 'EVIDENCE' }) },
    message:
      "material 'binary' is of kind EVIDENCE; the contract asks for ARTIFACT; replace it with: chainloop attestation add --name binary --value <path>",
  },
  {
    claim: 'a material that the contract does not have is refused, with the nearest name',
    changes: { materials: [...releaseMaterials, { ...spdx, name: 'binnary' }] },
    message: "the contract has no material 'binnary'; did you mean 'binary'?",
  },
  {
    claim: 'the same material twice is refused',
    changes: { materials: [...releaseMaterials, ...releaseMaterials.slice(0, 1)] },
    message: "material 'commit' is there 2 times; one is expected",
  },
  {
    claim: 'a file without a digest is no evidence',
    changes: { materials: changed('binary', { digest: undefined }) },
    message:
      "material 'binary' is not measured: its digest, file name or size is missing; add it again with: chainloop attestation add --name binary --value <path>",
  },
  {
    claim: 'a file that is not in storage is refused',
    changes: { materials: changed('binary', { uploaded: false }) },
    message: "material 'binary' was not uploaded; add it again with: chainloop attestation add --name binary --value <path>",
  },
  {
    claim: 'a file that the contract keeps out of storage must not be there',
    changes: { materials: [...releaseMaterials, { ...spdx, name: 'notes', type: 'EVIDENCE' }] },
    message:
      "material 'notes' was uploaded, and the contract asks for its digest only; add it again with: chainloop attestation add --name notes --value <path>",
  },
  {
    claim: 'a required annotation of a material is asked for',
    changes: { materials: changed('sbom', { annotations: { stage: 'build' } }) },
    message:
      "material 'sbom': annotation 'tool' is required; add it with: chainloop attestation add --name sbom --value <path> --annotation tool=<value>",
  },
  {
    claim: 'a fixed annotation cannot be another',
    changes: { materials: changed('sbom', { annotations: { tool: 'npm', stage: 'test' } }) },
    message: "material 'sbom': annotation 'stage' must be 'build', as the contract fixes it; leave it out",
  },
  {
    claim: 'an annotation that the contract does not have is refused, with the nearest name',
    changes: { materials: changed('sbom', { annotations: { tool: 'npm', stage: 'build', toll: '1' } }) },
    message: "material 'sbom': the contract has no annotation 'toll' here (it has: tool, stage); did you mean 'tool'?",
  },
  {
    claim: 'a required annotation of the attestation is asked for',
    changes: { annotations: { origin: 'ci', severity: '' } },
    message: "attestation: annotation 'severity' is required; give it with: chainloop attestation push --annotation severity=<value>",
  },
  {
    claim: 'a fixed annotation of the attestation cannot be another',
    changes: { annotations: { origin: 'home', severity: 'low' } },
    message: "attestation: annotation 'origin' must be 'ci', as the contract fixes it; leave it out",
  },
  {
    claim: 'a variable of the allow list that is missing is named',
    changes: { env: {} },
    message: "variable 'CUSTOM_VAR' is required (envAllowList), and is not set; set it before: chainloop attestation init",
  },
  {
    claim: 'an empty variable is a missing one',
    changes: { env: { CUSTOM_VAR: '' } },
    message: "variable 'CUSTOM_VAR' is required (envAllowList), and is not set; set it before: chainloop attestation init",
  },
  {
    claim: 'another CI system than the one that the contract asks for is refused',
    changes: { runner: { type: 'GITLAB_PIPELINE', authenticated: false } },
    message:
      'runner: the contract asks for GITHUB_ACTION; this is GITLAB_PIPELINE (Gitlab pipeline); run the job there, or change runner.type of the contract',
  },
  {
    claim: 'a laptop is not the CI system that the contract asks for',
    changes: { runner: { authenticated: false } },
    message:
      'runner: the contract asks for GITHUB_ACTION; no CI system was recognised here; run the job there, or change runner.type of the contract',
  },
] as const;
for (const { claim, changes, message } of rows) test(claim, () => assert.deepEqual(messages(changes), [message]));

test('either one of a group is enough, and both are fine', () => {
  assert.deepEqual(messages({ materials: [...without('sbom'), spdx] }), []);
  assert.deepEqual(messages({ materials: [...releaseMaterials, spdx] }), []);
});

test('nothing is uploaded in a dry run, and nothing has to be', () => {
  const materials = releaseMaterials.map((material) => ({ ...material, uploaded: false }));
  assert.deepEqual(unsatisfied(releaseContract, { ...found, materials, dryRun: true }), []);
});

test('every missing annotation and material is reported, not the first (lessons.md, 17)', () => {
  const missing = messages({ materials: [], annotations: {}, env: {} });
  assert.equal(missing.length, 7);
  for (const name of ['commit', 'binary', 'image', 'sboms', 'severity', 'origin', 'CUSTOM_VAR']) {
    assert.ok(
      missing.some((message) => message.includes(`'${name}'`)),
      name,
    );
  }
});

test('push fails with all problems, under the code of the runner when that is one of them', () => {
  const incomplete = { ...releaseCrafting, materials: [] };
  assert.throws(
    () => seal(incomplete),
    (error) => error instanceof ChainloopError && error.code === 'CONTRACT_NOT_SATISFIED' && error.problems.length === 4,
  );
  assert.throws(
    () => seal({ ...incomplete, start: { ...releaseStart, runner: { authenticated: false } } }),
    (error) => error instanceof ChainloopError && error.code === 'RUNNER_MISMATCH' && error.problems.length === 5,
  );
});

test('an attestation of nothing is not made', () => {
  const contract = { ...releaseContract, materials: [], annotations: [] };
  const start = { ...releaseStart, contract, annotations: {} };
  assert.deepEqual(openProblems({ start, materials: [] }), []);
  assert.deepEqual(openProblems({ start: { ...start, head: undefined }, materials: [] }), [
    {
      message:
        'there is nothing to attest to: no output material, and the folder is not a git checkout; mark a material of the contract with output: true',
    },
  ]);
});

test('an annotation called __proto__ is an unknown one, and pollutes nothing (faults.md, S13)', () => {
  const evil: Record<string, string> = JSON.parse('{"__proto__":"x","severity":"low","origin":"ci"}');
  assert.deepEqual(messages({ annotations: evil }), [
    "attestation: the contract has no annotation '__proto__' here (it has: severity, origin)",
  ]);
});
