import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as z from 'zod';
import { DocumentV1, DocumentV2 } from '../core/contract/schema.ts';
import { Contract, parseContract } from '../core/contract.ts';
import { limits } from '../core/limits.ts';
import { materialTypes, runnerTypes } from '../core/names.ts';
import { busyMs } from '../test/busy.ts';
import { rejection } from '../test/refusal.ts';
import { createContractReader } from './contract-reader.ts';
import { evaluateCue } from './cue.ts';

const example = (extension: string) =>
  readFileSync(new URL(`../examples/contract/chainloop-contract-example.${extension}`, import.meta.url), 'utf8');

/** A parser in this thread took 2,300. */
const maxBusyMs = 600;

test("the introduction's CUE contract, word for word, is its JSON contract", async () => {
  assert.deepEqual(await evaluateCue(example('cue')), JSON.parse(example('json')));
  assert.deepEqual(await createContractReader().read(example('cue'), 'cue'), parseContract(example('json'), 'json'));
});

test('CUE that computes a contract is read as its result', async () => {
  const text = `
import "strings"
#Binary: { type: "ARTIFACT", name: string, output: *true | bool }
schemaVersion: "v1"
materials: [for os in ["linux", "mac"] { #Binary & { name: strings.ToLower("APP-" + os) } }]
`;
  const { contract } = await createContractReader().read(text, 'cue');
  assert.deepEqual(
    contract.materials.map(({ name, output }) => ({ name, output })),
    [
      { name: 'app-linux', output: true },
      { name: 'app-mac', output: true },
    ],
  );
});

const hostile = [
  [
    'a list bomb',
    `n: [0,1,2,3,4,5,6,7,8,9]\nl: [${'abcdefgh'
      .split('')
      .map((name) => `for ${name} in n`)
      .join(' ')} {a}]`,
    'LIMIT_EXCEEDED',
    /3 seconds/,
  ],
  ['a gigabyte of text', 'import "strings"\na: strings.Repeat("x", 1000000000)', 'LIMIT_EXCEEDED', /512 MiB/],
  ['a megabyte of text', 'import "strings"\na: strings.Repeat("x", 1000000)', 'LIMIT_EXCEEDED', /more than 262144 bytes of JSON/],
  ['100,000 lists in one another', `a: ${'['.repeat(100_000)}${']'.repeat(100_000)}`, 'CONTRACT_INVALID', /1 problem/],
  ['a text of 300 KB', `a: "${'x'.repeat(300_000)}"`, 'LIMIT_EXCEEDED', /more than 262144 bytes/],
  ['an unknown reference', 'a: b', 'CONTRACT_INVALID', /1 problem/],
  ['a conflict', 'a: 1\na: 2', 'CONTRACT_INVALID', /problem/],
  ['an incomplete value', 'schemaVersion: string', 'CONTRACT_INVALID', /problem/],
  ['a syntax error', 'a: [', 'CONTRACT_INVALID', /1 problem/],
  ['a package from elsewhere', 'import "example.com/x"\na: x.b', 'CONTRACT_INVALID', /problem/],
  ['a program to run', 'import "tool/exec"\na: exec.Run & {cmd: "id"}', 'CONTRACT_INVALID', /problem/],
] as const;

test('a hostile CUE contract gets an error within its limits, stalls nobody, and the next one is read (S8)', {
  concurrency: true,
}, async (t) => {
  const reader = createContractReader();
  const took = await busyMs(() =>
    Promise.all(
      hostile.map(([what, text, code, message]) =>
        t.test(what, async () => {
          const error = await rejection(reader.read(text, 'cue'));
          assert.equal(error.code, code);
          assert.match(error.message, message);
        }),
      ),
    ),
  );
  t.diagnostic(`of this thread: ${took.toFixed(0)} ms`);
  assert.ok(took < maxBusyMs, `${took} ms`);
  assert.equal((await reader.read(example('cue'), 'cue')).contract.materials.length, 3);
});

test('what CUE evaluates to is held to the rules of a contract', async () => {
  const { code, problems } = await rejection(createContractReader().read('schemaVersion: "v1"\nenAllowList: []', 'cue'));
  assert.equal(code, 'CONTRACT_INVALID');
  assert.deepEqual(problems, [{ message: "unknown key 'enAllowList'; did you mean 'envAllowList'?", path: 'enAllowList' }]);
});

test('evaluation sees no environment', async () => {
  const answer = await evaluateCue('a: string @tag(a,var=os)\nb: "$HOME"\na: "x"');
  assert.deepEqual(answer, { a: 'x', b: '$HOME' });
});

test('slow YAML of 256 KiB is parsed elsewhere, and stalls nobody (S8)', async (t) => {
  const reader = createContractReader();
  const length = limits.contractSizeBytes;
  for (const [what, text] of [
    ['a flat list', `[${'1,'.repeat(length / 2 - 2)}1]`],
    ['unmatched brackets', '[}'.repeat(length / 2)],
  ] as const) {
    const took = await busyMs(async () => {
      const { code } = await rejection(reader.read(text, 'yaml'));
      assert.ok(code === 'CONTRACT_INVALID' || code === 'LIMIT_EXCEEDED');
    });
    t.diagnostic(`${what}: of this thread ${took.toFixed(0)} ms`);
    assert.ok(took < maxBusyMs, `${took} ms`);
  }
});

test('a large YAML contract read elsewhere is the one read here, and so are its problems', async () => {
  const text = `schemaVersion: v1\nmaterials:\n${Array.from({ length: 400 }, (_, index) => `  - {type: ARTIFACT, name: artifact-${index}}\n`).join('')}`;
  const reader = createContractReader();
  assert.deepEqual(await reader.read(text, 'yaml'), parseContract(text, 'yaml'));
  const { problems } = await rejection(reader.read(`${text}runer: {}\n`, 'yaml'));
  assert.deepEqual(problems, [{ message: "unknown key 'runer'; did you mean 'runner'?", path: 'runer', line: 403, column: 1 }]);
});

test('many evaluations at once wait their turn, and all are answered', async () => {
  const reader = createContractReader();
  const texts = Array.from({ length: 5 }, (_, index) => `schemaVersion: "v1"\nenvAllowList: ["A${index}"]`);
  const answers = await Promise.all(texts.map((text) => reader.read(text, 'cue')));
  assert.deepEqual(
    answers.map(({ contract }) => contract.envAllowList.join()),
    ['A0', 'A1', 'A2', 'A3', 'A4'],
  );
});

test('every example of docs/contract.md is a contract', async () => {
  const text = readFileSync(new URL('../docs/contract.md', import.meta.url), 'utf8');
  const examples = [...text.matchAll(/^```(yaml|json|cue)\n(.*?)^```/gms)];
  const formats = z.enum(['yaml', 'json', 'cue']);
  assert.deepEqual(new Set(examples.map(([, format]) => format)), new Set(formats.options));
  const reader = createContractReader();
  for (const [, format, example] of examples)
    assert.ok((await reader.read(example ?? '', formats.parse(format))).contract.materials.length > 0);
});

test('docs/contract.md names every key, kind and runner, and the limits that are enforced', () => {
  const text = readFileSync(new URL('../docs/contract.md', import.meta.url), 'utf8');
  const keys = Object.keys(Contract.shape).concat(Object.keys(DocumentV1.shape), Object.keys(DocumentV2.shape));
  const materialKeys = Object.keys(Contract.shape.materials.unwrap().element.shape).map((key) => `materials[].${key}`);
  for (const word of [...keys, ...materialKeys, ...materialTypes, ...runnerTypes]) assert.ok(text.includes(`\`${word}`), word);
  for (const limit of [
    `at most ${limits.contractSizeBytes / 1024} KiB`,
    `at most ${limits.contractMaterials}`,
    `at most ${limits.contractEnvVars}`,
    `at most ${limits.annotations}`,
    `up to ${limits.problems} problems`,
    `${limits.nestingDepth} levels`,
    `${limits.contractValues.toLocaleString('en')} values`,
    `within ${limits.cueTimeoutMs / 1000} seconds and ${(limits.cueMemoryPages * 64) / 1024} MiB`,
  ])
    assert.ok(text.includes(limit), limit);
});
