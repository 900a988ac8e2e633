import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Ajv } from 'ajv';
import fc from 'fast-check';
import * as z from 'zod';
import { busyMs } from '../test/busy.ts';
import { refusal } from '../test/refusal.ts';
import { Contract, contractDigest, contractFromValue, contractJsonSchema, guessFormat, parseContract } from './contract.ts';
import { isChainloopError, type Problem } from './errors.ts';
import { limits } from './limits.ts';
import { materialTypes, runnerTypes } from './names.ts';

const example = (extension: string) =>
  readFileSync(new URL(`../examples/contract/chainloop-contract-example.${extension}`, import.meta.url), 'utf8');

function problemsOf(text: string, format: 'yaml' | 'json' = 'yaml'): readonly Problem[] {
  const error = refusal(() => parseContract(text, format));
  assert.equal(error.code, 'CONTRACT_INVALID');
  return error.problems;
}

const plain = { optional: false, output: false, skipUpload: false, annotations: [] };
const introduction: Contract = {
  materials: [
    { ...plain, type: 'STRING', name: 'commit' },
    { ...plain, type: 'ARTIFACT', name: 'control-plane-linux-amd64', output: true },
    { ...plain, type: 'CONTAINER_IMAGE', name: 'control-plane-image', output: true },
  ],
  envAllowList: ['CUSTOM_VAR'],
  runner: { type: 'GITHUB_ACTION' },
  annotations: [],
};

test("the introduction's YAML and JSON contracts are read, and are the same contract", () => {
  assert.deepEqual(parseContract(example('yaml'), 'yaml'), { contract: introduction });
  assert.deepEqual(parseContract(example('json'), 'json'), { contract: introduction });
});

test('the second schema says the same, and names the contract', () => {
  const text = `apiVersion: chainloop.dev/v1
kind: Contract
metadata: { name: release, description: What a release brings. }
spec:
  materials:
    - { type: STRING, name: commit }
    - { type: ARTIFACT, name: control-plane-linux-amd64, output: true }
    - { type: CONTAINER_IMAGE, name: control-plane-image, output: true }
  envAllowList: [CUSTOM_VAR]
  runner: { type: GITHUB_ACTION }
`;
  assert.deepEqual(parseContract(text, 'yaml'), { name: 'release', contract: introduction });
});

test('a contract may ask for nothing', () => {
  assert.deepEqual(parseContract('schemaVersion: v1', 'yaml').contract, { materials: [], envAllowList: [], annotations: [] });
});

test('every mistake of a 300-line contract is reported at once, in order, with its line', () => {
  const lines = ['schemaVersion: v1', 'materials:'];
  for (let index = 0; lines.length < 285; index++) lines.push('  - type: ARTIFACT', `    name: artifact-${index}`, '    output: true');
  lines.push('envAllowList:', '  - CUSTOM_VAR', 'runner:', '  type: GITHUB_ACTION');
  while (lines.length < 300) lines.push('# the end');
  const mistakes: readonly [line: number, text: string, message: RegExp, path: string][] = [
    [3, '  - type: ARTEFACT', /^unknown 'ARTEFACT'; did you mean 'ARTIFACT'\?$/, 'materials[0].type'],
    [7, '    name: Artifact_1', /^'Artifact_1' must be lower-case letters/, 'materials[1].name'],
    [11, '    ouptut: true', /^unknown key 'ouptut'; did you mean 'output'\?$/, 'materials[2].ouptut'],
    [14, '    output: yes', /^must be true or false, found the text 'yes'$/, 'materials[3].output'],
    [25, '    name: 7', /^must be text, found the number 7; put it in quotes$/, 'materials[7].name'],
    [29, '    skipUpload: { }', /^must be true or false, found a map of keys and values$/, 'materials[8].skipUpload'],
    [31, '    name:', /^must be text, found nothing$/, 'materials[9].name'],
    [35, '    group: alone', /^the group 'alone' has one material/, 'materials[10].group'],
    [38, '    type: STRING', /^the key 'type' is there twice$/, 'materials[11].type'],
    [
      41,
      '    annotations: [{ name: chainloop.x }]',
      /^names that begin with 'chainloop\.' are reserved$/,
      'materials[12].annotations[0].name',
    ],
    [290, 'runer:', /^unknown key 'runer'; did you mean 'runner'\?$/, 'runer'],
    [289, '  - CHAINLOOP_TOKEN', /^CHAINLOOP_TOKEN is a credential/, 'envAllowList[0]'],
  ];
  for (const [line, text] of mistakes) lines[line - 1] = text;
  // Two that show elsewhere than where they were made.
  lines[15] = '    name: artifact-5';
  lines[17] = '  - type: STRING';
  const expected = [
    ...mistakes,
    [19, '', /^the material 'artifact-5' is there already, as number 5$/, 'materials[5].name'] as const,
    [20, '', /^a STRING cannot be an output/, 'materials[5].output'] as const,
  ].toSorted(([a], [b]) => a - b);
  const problems = problemsOf(lines.join('\n'));
  assert.equal(lines.length, 300);
  assert.deepEqual(
    problems.map(({ line, path }) => [line, path]),
    expected.map(([line, , , path]) => [line, path]),
  );
  for (const [index, [, , message]] of expected.entries()) assert.match(problems[index]?.message ?? '', message);
});

for (const [what, text, expected] of [
  ['no schema version', 'materials: []', ["missing; it must be 'v1'"]],
  ['another schema version', 'schemaVersion: v3', ["must be 'v1', found 'v3'"]],
  ['nothing at all', '', ['must be a map of keys and values, found nothing']],
  ['a list', '- a', ['must be a map of keys and values, found a list']],
  [
    'an empty envelope',
    'kind: Contract',
    [
      "missing; it must be 'chainloop.dev/v1'",
      'missing; it must be a map of keys and values',
      'missing; it must be a map of keys and values',
    ],
  ],
  [
    'both schemas',
    'schemaVersion: v1\napiVersion: chainloop.dev/v1\nkind: Contract\nmetadata: {name: a}\nspec: {}',
    ["unknown key 'schemaVersion'; known are apiVersion, kind, metadata, spec"],
  ],
  [
    'a twin name',
    'schemaVersion: v1\nmaterials: [{type: STRING, name: a},{type: ARTIFACT, name: a}]',
    ["the material 'a' is there already, as number 1"],
  ],
  [
    'a confusable name (S14)',
    'schemaVersion: v1\nmaterials: [{type: STRING, name: cоmmit}]',
    ["'cоmmit' must be lower-case letters, digits and dashes, and begin and end with a letter or digit"],
  ],
  [
    'a STRING as output',
    'schemaVersion: v1\nmaterials: [{type: STRING, name: a, output: true}]',
    ['a STRING cannot be an output; subjects have a digest'],
  ],
  [
    'a STRING that is not uploaded',
    'schemaVersion: v1\nmaterials: [{type: STRING, name: a, skipUpload: true}]',
    ['a STRING is never uploaded; remove skipUpload'],
  ],
  [
    'an image that is not uploaded',
    'schemaVersion: v1\nmaterials: [{type: CONTAINER_IMAGE, name: a, skipUpload: true}]',
    ['a CONTAINER_IMAGE is never uploaded; remove skipUpload'],
  ],
  [
    'an optional group member',
    'schemaVersion: v1\nmaterials: [{type: STRING, name: a, group: g, optional: true},{type: STRING, name: b, group: g}]',
    ['a material of a group is optional already; remove optional, or the group'],
  ],
  [
    'a lonely group',
    'schemaVersion: v1\nmaterials: [{type: STRING, name: a, group: g}]',
    ["the group 'g' has one material; put another one into it, or remove it"],
  ],
  ['a variable twice', 'schemaVersion: v1\nenvAllowList: [A, B, A]', ["the variable 'A' is there already, as number 1"]],
  [
    'an annotation twice',
    'schemaVersion: v1\nannotations: [{name: a},{name: a, value: x}]',
    ["the annotation 'a' is there already, as number 1"],
  ],
  [
    'a signing key among the variables',
    'schemaVersion: v1\nenvAllowList: [CHAINLOOP_SIGNING_KEY]',
    ['CHAINLOOP_SIGNING_KEY is a credential, and everything listed here is published in the attestation; remove it'],
  ],
  [
    "the token of a job's CI system among the variables",
    'schemaVersion: v1\nenvAllowList: [CHAINLOOP_ID_TOKEN]',
    ['CHAINLOOP_ID_TOKEN is a credential, and everything listed here is published in the attestation; remove it'],
  ],
  [
    'an escaped terminal sequence (S14)',
    'schemaVersion: v1\nannotations: [{name: a, value: "\\e[2J"}]',
    ['has a control or bidirectional character, or half of a surrogate pair; remove it'],
  ],
  [
    'a runner that is none',
    'schemaVersion: v1\nrunner: {type: GITHUB_ACTIONS}',
    ["unknown 'GITHUB_ACTIONS'; did you mean 'GITHUB_ACTION'?"],
  ],
  ['too many materials', `schemaVersion: v1\nmaterials: [${'{type: STRING, name: a},'.repeat(501)}]`, ['more than 500 entries']],
] as const) {
  test(`a contract with ${what} is refused`, () => {
    const messages = problemsOf(text).map(({ message }) => message);
    assert.deepEqual(messages.slice(0, expected.length), expected);
  });
}

test('every value that the introduction and the kinds name is accepted', () => {
  for (const type of materialTypes) assert.ok(parseContract(`schemaVersion: v1\nmaterials: [{type: ${type}, name: a}]`, 'yaml'));
  for (const type of runnerTypes) assert.ok(parseContract(`schemaVersion: v1\nrunner: {type: ${type}}`, 'yaml'));
});

test('a material of a group, an output that is not uploaded, and annotations are read', () => {
  const { contract } = parseContract(
    'schemaVersion: v1\nmaterials:\n- {type: SBOM_SPDX_JSON, name: a, group: sbom}\n- {type: SBOM_CYCLONEDX_JSON, name: b, group: sbom, output: true, skipUpload: true, annotations: [{name: component, value: "x\\ty"}, {name: asset}]}',
    'yaml',
  );
  assert.deepEqual(contract.materials, [
    { ...plain, type: 'SBOM_SPDX_JSON', name: 'a', group: 'sbom' },
    {
      ...plain,
      type: 'SBOM_CYCLONEDX_JSON',
      name: 'b',
      group: 'sbom',
      output: true,
      skipUpload: true,
      annotations: [
        { name: 'component', value: 'x\ty' },
        { name: 'asset', value: '' },
      ],
    },
  ]);
});

test('problems of JSON have lines too', () => {
  assert.deepEqual(problemsOf('{\n  "schemaVersion": "v1",\n  "enAllowList": []\n}', 'json'), [
    { message: "unknown key 'enAllowList'; did you mean 'envAllowList'?", path: 'enAllowList', line: 3, column: 3 },
  ]);
});

test('problems of a value have paths, and no lines', () => {
  const { code, problems } = refusal(() => contractFromValue({ schemaVersion: 'v1', materials: [{ type: 'STRING', name: 1 }] }));
  assert.equal(code, 'CONTRACT_INVALID');
  assert.deepEqual(problems, [{ message: 'must be text, found the number 1; put it in quotes', path: 'materials[0].name' }]);
});

for (const [what, value] of [
  ['undefined', undefined],
  ['a function', () => 1],
  [
    'a cycle',
    (() => {
      const cycle: Record<string, unknown> = {};
      cycle.self = cycle;
      return cycle;
    })(),
  ],
  ['a bigint', 1n],
  ['a list 100,000 deep', JSON.parse('['.repeat(100_000) + ']'.repeat(100_000))],
] as const) {
  test(`${what} is not a contract`, () => {
    assert.equal(refusal(() => contractFromValue(value)).code, 'CONTRACT_INVALID');
  });
}

test('a 50 MB contract is refused before it is parsed (S8)', async () => {
  const text = `schemaVersion: v1\nenvAllowList:\n${'- A\n'.repeat(12_500_000)}`;
  const took = await busyMs(() => {
    assert.equal(refusal(() => parseContract(text, 'yaml')).code, 'LIMIT_EXCEEDED');
    assert.equal(refusal(() => parseContract(text, 'json')).code, 'LIMIT_EXCEEDED');
  });
  assert.ok(took < 200, `${took} ms`);
});

test('__proto__ and constructor are unknown keys, and pollute nothing (S13)', () => {
  const text =
    '{"schemaVersion":"v1","__proto__":{"materials":[]},"constructor":{"prototype":{"x":1}},"materials":[{"type":"STRING","name":"a","__proto__":{"output":true}}]}';
  for (const format of ['yaml', 'json'] as const)
    assert.deepEqual(
      problemsOf(text, format).map(({ path }) => path),
      ['__proto__', 'constructor', 'materials[0].__proto__'],
    );
  assert.equal(Reflect.get(Object.prototype, 'output'), undefined);
});

const annotations = fc.uniqueArray(
  fc.record({ name: fc.stringMatching(/^[a-z]{1,8}$/), value: fc.stringMatching(/^[ -~é]{0,12}$/) }, { noNullPrototype: true }),
  {
    selector: ({ name }) => name,
    maxLength: 3,
  },
);
const contracts = fc
  .record({
    materials: fc.uniqueArray(
      fc.record({
        type: fc.constantFrom(...materialTypes),
        name: fc.stringMatching(/^[a-z0-9]([a-z0-9]{0,5}[a-z0-9])?$/),
        optional: fc.boolean(),
        output: fc.boolean(),
        skipUpload: fc.boolean(),
        annotations,
      }),
      { selector: ({ name }) => name, maxLength: 6 },
    ),
    envAllowList: fc.uniqueArray(fc.stringMatching(/^[A-Z_][A-Z0-9_]{0,8}$/), { maxLength: 4 }),
    annotations,
  })
  .map(
    (contract): Contract => ({
      ...contract,
      materials: contract.materials.map((material) => ({
        ...material,
        output: material.output && material.type !== 'STRING',
        skipUpload: material.skipUpload && material.type !== 'STRING' && material.type !== 'CONTAINER_IMAGE',
      })),
    }),
  );

test('a contract written in either schema is read as itself', () => {
  fc.assert(
    fc.property(contracts, fc.constantFrom(0, 3), (contract, indent) => {
      const first = JSON.stringify({ schemaVersion: 'v1', ...contract }, null, indent);
      const second = JSON.stringify(
        { apiVersion: 'chainloop.dev/v1', kind: 'Contract', metadata: { name: 'a' }, spec: contract },
        null,
        indent,
      );
      for (const format of ['yaml', 'json'] as const) {
        assert.deepEqual(parseContract(first, format), { contract });
        assert.deepEqual(parseContract(second, format), { name: 'a', contract });
      }
    }),
    { numRuns: 60, seed: 7 },
  );
});

test('no value makes it throw anything but our error', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.jsonValue(),
        fc.record({ schemaVersion: fc.constant('v1'), materials: fc.jsonValue(), runner: fc.jsonValue(), annotations: fc.jsonValue() }),
      ),
      (value) => {
        try {
          contractFromValue(value);
        } catch (error) {
          assert.ok(isChainloopError(error, 'CONTRACT_INVALID'), String(error));
        }
      },
    ),
    { numRuns: 1_000, seed: 7 },
  );
});

test('the digest does not depend on schema, language, comments, order or spelled-out defaults', () => {
  const texts = [
    'schemaVersion: v1\nmaterials:\n- {type: STRING, name: a}\n- {name: b, type: ARTIFACT, output: true}\nenvAllowList: [X, Y]',
    '# comment\nenvAllowList:\n  - Y\n  - X\nmaterials:\n  - output: true\n    type: "ARTIFACT"\n    name: b\n    annotations: []\n  - name: a\n    optional: false\n    type: STRING\nschemaVersion: v1\nannotations: []\n',
    'apiVersion: chainloop.dev/v1\nkind: Contract\nmetadata: {name: x, description: y}\nspec: {envAllowList: [X, Y], materials: [{type: STRING, name: a, skipUpload: false}, {type: ARTIFACT, name: b, output: true}]}',
  ];
  const digests = new Set(texts.map((text) => contractDigest(parseContract(text, 'yaml').contract)));
  assert.equal(digests.size, 1);
});

test('the digest changes with everything that a contract can ask for', () => {
  const base = 'schemaVersion: v1\nmaterials: [{type: ARTIFACT, name: a}]\n';
  const variants = [
    base,
    base.replace('ARTIFACT', 'EVIDENCE'),
    base.replace('name: a', 'name: b'),
    base.replace('name: a', 'name: a, optional: true'),
    base.replace('name: a', 'name: a, output: true'),
    base.replace('name: a', 'name: a, skipUpload: true'),
    base.replace('name: a', 'name: a, annotations: [{name: x}]'),
    base.replace('name: a', 'name: a, annotations: [{name: x, value: y}]'),
    `${base}envAllowList: [X]`,
    `${base}runner: {type: JENKINS_JOB}`,
    `${base}annotations: [{name: x}]`,
    base.replace('name: a}', 'name: a, group: g}, {type: ARTIFACT, name: b, group: g}'),
    base.replace('name: a}', 'name: a}, {type: ARTIFACT, name: b}'),
  ];
  assert.equal(new Set(variants.map((text) => contractDigest(parseContract(text, 'yaml').contract))).size, variants.length);
});

for (const [fileName, text, format] of [
  ['a.yaml', '{}', 'yaml'],
  ['a.YML', '', 'yaml'],
  ['a.json', 'a: 1', 'json'],
  ['a.cue', '{}', 'cue'],
  ['-', example('cue'), 'cue'],
  ['-', example('json'), 'json'],
  ['-', example('yaml'), 'yaml'],
  ['contract', 'package x', 'cue'],
  ['contract', '\uFEFF {"a": 1}', 'json'],
  ['contract.txt', '{}', 'json'],
] as const) {
  test(`the language of '${fileName}' beginning with '${text.slice(0, 9).trim()}' is ${format}`, () => {
    assert.equal(guessFormat(fileName, text), format);
  });
}

test('ways to sign that accept the same have the same content', () => {
  const digest = (signing: string): string => contractDigest(parseContract(`schemaVersion: v1\n${signing}`, 'yaml').contract);
  const same = [
    ['', 'signing: [key, keyless]', 'signing: [keyless, key]', 'signing: [key, keyless, sigstore]'],
    ['signing: [keyless]', 'signing: [sigstore, keyless]'],
    ['signing: [key, sigstore]', 'signing: [sigstore, key]'],
    ['signing: [sigstore]'],
    ['signing: [key]'],
  ].map((texts) => new Set(texts.map(digest)));
  assert.deepEqual(
    same.map(({ size }) => size),
    same.map(() => 1),
  );
  assert.equal(new Set(same.flatMap((digests) => [...digests])).size, same.length);
});

test('docs/contract.schema.json is what the code says; node tools/contract-schema.ts writes it', () => {
  const file = new URL('../docs/contract.schema.json', import.meta.url);
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), contractJsonSchema());
});

test('the JSON Schema accepts both schemas, and refuses unknown keys, values and types', () => {
  const validate = new Ajv().compile(z.record(z.string(), z.unknown()).parse(contractJsonSchema()));
  const second = { apiVersion: 'chainloop.dev/v1', kind: 'Contract', metadata: { name: 'a' }, spec: introduction };
  for (const value of [JSON.parse(example('json')), { schemaVersion: 'v1' }, second])
    assert.ok(validate(value), JSON.stringify(validate.errors));
  for (const value of [
    {},
    { schemaVersion: 'v1', x: 1 },
    { ...second, kind: 'contract' },
    { schemaVersion: 'v1', materials: [{ type: 'ARTEFACT', name: 'a' }] },
  ])
    assert.equal(validate(value), false);
});

test('our patterns take 50,000 characters in a few milliseconds (S10)', async () => {
  const long = 'a'.repeat(50_000);
  for (const [key, text] of [
    ['name', `${long}-`],
    ['name', `${'-a'.repeat(25_000)}_`],
    ['type', long],
  ] as const) {
    const contract = JSON.stringify({
      schemaVersion: 'v1',
      materials: [{ type: 'STRING', name: 'a', [key]: text }],
      envAllowList: [`${long}-`],
      annotations: [{ name: `${'a.'.repeat(25_000)}` }],
    });
    const took = await busyMs(() => problemsOf(contract, 'json'));
    assert.ok(took < 100, `${took} ms`);
  }
});

test('the published limits are the enforced ones', () => {
  assert.equal(
    Contract.safeParse({ materials: new Array(limits.contractMaterials + 1).fill({ type: 'STRING', name: 'a' }) }).success,
    false,
  );
});
