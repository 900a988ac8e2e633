import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Contract } from '../core/contract.ts';
import { ChainloopError } from '../core/errors.ts';
import { junitOf } from './junit.ts';
import { nothingFound, type Outcome } from './outcome.ts';

const names = { organization: 'acme', project: 'app', team: '', workflowId: '', workflowName: 'release', runId: 'r' };

/** An outcome under a contract of materials `a`, which is required, and `b`, which is not. */
function outcome(change: Partial<Outcome>, value?: string): Outcome {
  const contract = Contract.parse({
    materials: [
      { name: 'a', type: 'STRING' },
      { name: 'b', type: 'ARTIFACT', optional: true },
    ],
  });
  const found = nothingFound();
  found.crafting = {
    start: {
      ...{ version: 1, identity: { ...names, contractName: 'release', contractRevision: 3 }, contract, runner: { authenticated: false } },
      ...{ env: {}, initializedAt: '', dryRun: false, controlPlane: '', annotations: {} },
    },
    materials: value === undefined ? [] : [{ name: 'a', type: 'STRING', value, uploaded: false, annotations: {} }],
  };
  return { command: 'attest', status: 'passed', found, ...change };
}

/** `name: result` of each test case. */
function cases(report: string): readonly string[] {
  return Array.from(
    report.matchAll(/<testcase classname="[^"]*" name="([^"]*)"(?:\/>|><(\S+?)[ >])/g),
    ([, name, result = 'passed']) => `${name}: ${result}`,
  );
}

test('what is there passes, what is optional and absent is skipped', () => {
  const report = junitOf(outcome({}, 'abc'));
  assert.deepEqual(cases(report), ['a: system-out', 'b: skipped', 'attestation: passed']);
  assert.match(report, /<testsuite name="Chainloop release@3" tests="3" failures="0" errors="0" skipped="1">/);
});

test('a required material that is missing fails, once it is known that nobody brings it', () => {
  const error = new ChainloopError('CONTRACT_NOT_SATISFIED', 'contract: 1 problem');
  const report = junitOf(outcome({ status: 'violations', error }));
  assert.deepEqual(cases(report), ['a: failure', 'b: skipped', 'attestation: failure']);
  assert.match(report, /name="a"><failure message="missing: a \(STRING\)">/);
  assert.deepEqual(cases(junitOf(outcome({ status: 'open', command: 'add' }))), ['a: skipped', 'b: skipped', 'attestation: passed']);
});

test('evidence that is wrong fails with what is wrong', () => {
  const made = outcome({ status: 'violations', error: new ChainloopError('MATERIAL_INVALID', 'x') });
  made.found.wrong.set('b', 'no such file: "dist/b"');
  assert.match(junitOf(made), /name="b"><failure message="no such file: &#34;dist\/b&#34;">/);
});

test('what is no fault of the evidence is an error; what was not tried is skipped', () => {
  const away = new ChainloopError('CONTROL_PLANE_UNREACHABLE', 'away');
  assert.deepEqual(cases(junitOf({ command: 'attest', status: 'failed', error: away, found: nothingFound() })), ['attestation: error']);
  for (const status of ['deferred', 'skipped', 'dry-run', 'cancelled'] as const)
    assert.deepEqual(cases(junitOf({ command: 'attest', status, error: away, found: nothingFound() })), ['attestation: skipped']);
});

test('no text leaves its place in the document, and every character is one that XML has', () => {
  const open = `"/></testcase><testcase name='x'> ]]> <!-- &amp; \u0000 \ud800 \uffff \n`;
  const check = (text: string): void => {
    const report = junitOf(outcome({ status: 'failed', error: new ChainloopError('INTERNAL', text) }, text));
    assert.equal(report.match(/<testcase /g)?.length, 3);
    assert.doesNotMatch(report, /[^\t\n\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u);
    assert.doesNotMatch(report, /&(?!#\d+;)/);
  };
  check(open);
  fc.assert(fc.property(fc.string({ unit: 'binary' }), check));
});
