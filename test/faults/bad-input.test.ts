import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFile, chmod, mkdir, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import type { Ended } from '../fakes/command-line.ts';
import { refused, snapshot, startWorkplace, succeeded, type Workplace } from '../fakes/workplace.ts';

// What people give to the commands by mistake: each gets one clear message and the right exit code, and the attestation can still be finished.

const contract = `schemaVersion: v1
materials:
  - { type: ARTIFACT, name: binary, output: true, annotations: [{ name: stage, value: build }] }
  - { type: STRING, name: commit }
  - { type: SBOM_CYCLONEDX_JSON, name: sbom }
  - { type: SBOM_SPDX_JSON, name: licences, optional: true }
  - { type: CONTAINER_IMAGE, name: image, optional: true }
`;
const cyclonedx = { bomFormat: 'CycloneDX', specVersion: '1.5', version: 1, components: [] };

let work: Workplace;
const job = (...args: readonly string[]): Promise<Ended> => work.line.run(args, { env: work.job });
const operator = (...args: readonly string[]): Promise<Ended> => work.line.run(args, { env: work.operator });
const add = (name: string, value: string, ...rest: readonly string[]) =>
  job('attestation', 'add', '--name', name, '--value', value, ...rest);

before(async () => {
  work = await startWorkplace({ contract });
  succeeded(await job('attestation', 'init'));
  await work.write('app.bin', 'the program');
  await work.write('sbom.json', JSON.stringify(cyclonedx));
  await work.write('spdx.json', JSON.stringify({ spdxVersion: 'SPDX-2.3', SPDXID: 'SPDXRef-DOCUMENT', packages: [] }));
  await work.write('empty', '');
  await work.write('broken.json', '{"bomFormat": "CycloneDX", ');
  await work.write('old.json', JSON.stringify({ ...cyclonedx, specVersion: '9.9' }));
  await work.write('wrong.json', JSON.stringify({ ...cyclonedx, components: [{ type: 'librarry', name: 1 }] }));
  await work.write('deep.json', `{"bomFormat":"CycloneDX","specVersion":"1.5","x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`);
  await work.write('proto.json', '{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"__proto__":{"isAdmin":true}}');
  await mkdir(join(work.line.folder, 'folder'));
});
after(() => work[Symbol.asyncDispose]());

/** Everything that a command could have changed: the attestation of the job, the runs, and what is in storage. */
async function everything() {
  const { items } = await work.api.run.list.query({});
  const storage = Object.keys(await snapshot(join(work.plane.dataDir, 'storage'))).sort();
  return { crafting: await snapshot(join(work.line.folder, 'state')), runs: items, storage };
}

const evidence: readonly (readonly [what: string, name: string, value: string, code: number, says: readonly RegExp[], rest?: string[]])[] =
  [
    [
      'a material that is not in the contract',
      'binray',
      'app.bin',
      3,
      [/no material 'binray'/, /it has: binary, commit, sbom/, /did you mean 'binary'/],
    ],
    ['a path that does not exist', 'binary', './no-such', 2, [/'binary'/, /no such file: \.\/no-such/, /--kind STRING/]],
    ['an empty file', 'binary', 'empty', 2, [/'binary'/, /empty is empty/, /check what writes it/]],
    ['a directory', 'binary', 'folder', 2, [/folder is a directory/, /give the path of a file/]],
    ['an empty text', 'commit', '', 2, [/--value <value> is empty/]],
    ['a text of 17 KiB', 'commit', 'x'.repeat(17 * 1024), 2, [/17408 bytes; the limit is 16384/]],
    ['an SPDX document for a CycloneDX one', 'sbom', 'spdx.json', 3, [/'sbom'/, /found .*SPDX/, /wanted .*CycloneDX/]],
    ['a CycloneDX document for an SPDX one', 'licences', 'sbom.json', 3, [/'licences'/, /found .*CycloneDX/, /wanted .*SPDX/]],
    ['a program for an SBOM', 'sbom', 'app.bin', 3, [/'sbom'/, /wanted .*CycloneDX/]],
    ['JSON that breaks off', 'sbom', 'broken.json', 3, [/broken\.json/, /not (valid )?JSON/]],
    ['an SBOM of a version that there is not', 'sbom', 'old.json', 3, [/old\.json/, /specVersion: must be one of .*1\.5/]],
    ['an SBOM that breaks the rules of its version', 'sbom', 'wrong.json', 3, [/librarry|components/]],
    ['an SBOM that is nested 100,000 deep', 'sbom', 'deep.json', 3, [/deep\.json/, /nested|deep/]],
    ['an SBOM with a __proto__ key', 'sbom', 'proto.json', 3, [/__proto__/]],
    ['another kind than the contract asks for', 'binary', 'app.bin', 3, [/--kind STRING/, /asks for ARTIFACT/], ['--kind', 'STRING']],
    ['a kind that there is not', 'binary', 'app.bin', 2, [/ARTEFACT/, /ARTIFACT/], ['--kind', 'ARTEFACT']],
    ['an annotation that the contract does not have', 'binary', 'app.bin', 3, [/no annotation 'a'/], ['--annotation', 'a=1']],
    ['another value of a fixed annotation', 'binary', 'app.bin', 3, [/'stage'/, /must be 'build'/], ['--annotation', 'stage=test']],
    ['an annotation that is called __proto__', 'binary', 'app.bin', 3, [/__proto__/], ['--annotation', '__proto__=x']],
    ['an annotation without a value', 'binary', 'app.bin', 2, [/--annotation/, /=/], ['--annotation', 'stage']],
    ['an image reference that is none', 'image', 'Not An Image', 2, [/'image'/, /\[registry\/\]repository/]],
  ];
for (const [what, name, value, code, says, rest = []] of evidence) {
  test(`attestation add: ${what} is refused with ${code}, and nothing is changed`, async () => {
    const before = await everything();
    refused(await add(name, value, ...rest), code, ...says);
    assert.deepEqual(await everything(), before);
  });
}

test('attestation add: a file that may not be read is refused with 2, and nothing is changed', async (t) => {
  const through = obeyingPermissions(t);
  if (through === undefined) return;
  const path = await work.write('locked', 'secret');
  await chmod(path, 0);
  const before = await everything();
  const args = ['attestation', 'add', '--name', 'binary', '--value', 'locked'];
  refused(await work.line.run(args, { env: work.job, through }), 2, /cannot read locked: there is no permission/);
  assert.deepEqual(await everything(), before);
});

for (const change of ['grows', 'shrinks'] as const) {
  test(`attestation add: a file that ${change} while it is read is refused with 1, and nothing is recorded`, async () => {
    const sizeBytes = 64 * 1024 * 1024;
    const path = await work.write('log', Buffer.alloc(sizeBytes, 'x'));
    const { crafting, runs } = await everything();
    let ended: Ended | undefined;
    const command = add('binary', 'log').then((end) => {
      ended = end;
    });
    for (let i = 1; ended === undefined; i++) {
      if (change === 'grows') await appendFile(path, 'more\n');
      else await truncate(path, sizeBytes - i);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await command;
    refused(ended, 1, /'binary'.* log changed while it was read; \w+ .* when /);
    const now = await everything();
    assert.deepEqual({ crafting: now.crafting, runs: now.runs }, { crafting, runs });
  });
}

const mistakes = [
  ['schemaVersoin: v1', /1:1: .*unknown key 'schemaVersoin'; did you mean 'schemaVersion'/],
  ['materials:', undefined],
  ['  - { type: ARTEFACT, name: a0 }', /3:13: .*unknown 'ARTEFACT'; did you mean 'ARTIFACT'/],
  ['  - { type: STRING, nmae: a1 }', /4:21: .*unknown key 'nmae'; did you mean 'name'/],
  ['  - { type: STRING, name: Not_A_Name }', /5:27: .*Not_A_Name/],
  ['  - { type: STRING, name: a3, optional: maybe }', /6:41: .*must be true or false/],
  ['  - { type: STRING, name: a4, output: true }', /7:39: .*a STRING cannot be an output/],
  ['  - { type: STRING, name: twice }', undefined],
  ['  - { type: STRING, name: twice }', /9:27: .*'twice' is there already/],
  ['  - { type: ARTIFACT, name: a7, group: lonely }', /10:40: .*group 'lonely' has one material/],
  ['  - { type: ARTIFACT, name: a8, annotations: [{ name: chainloop.x }] }', /11:55: .*reserved/],
] as const;
const later = ['envAllowList: [CHAINLOOP_TOKEN, 1BAD]', 'runner: { type: GITHUB_ACTIONS }'] as const;
const twelve = [
  ...mistakes.map(([line]) => line),
  ...Array.from({ length: 300 - mistakes.length - later.length }, (_, i) => `  - { type: STRING, name: filler-${i} }`),
  ...later,
].join('\n');

for (const verb of ['validate', 'create'] as const) {
  test(`workflow contract ${verb}: all mistakes of a contract of 300 lines are told at once, each with its place`, async () => {
    await work.write('twelve.yaml', twelve);
    const args = ['workflow', 'contract', verb, '--name', 'twelve', '-f', 'twelve.yaml'];
    const places = mistakes.flatMap(([, says]) => (says === undefined ? [] : [new RegExp(`twelve\\.yaml:${says.source}`)]));
    const rest = [
      /twelve\.yaml:299:16: .*CHAINLOOP_TOKEN is a credential/,
      /twelve\.yaml:299:33: .*1BAD/,
      /twelve\.yaml:300:17: .*GITHUB_ACTION/,
    ];
    const ended = await operator(...args);
    refused(ended, 2, ...places, ...rest);
    assert.ok(places.length + rest.length >= 12);
    const { items } = await work.api.contract.list.query({});
    assert.deepEqual(
      items.map(({ name }) => name),
      ['release'],
    );
  });
}

const anchors = [
  'a: &a0 [x, x, x, x, x, x, x, x, x]',
  ...Array.from({ length: 8 }, (_, i) => `b${i}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(', ')}]`),
];
const contracts: readonly (readonly [what: string, file: string, content: () => string | Uint8Array, says: readonly RegExp[]])[] = [
  ['of 50 MB', 'large.yaml', () => Buffer.alloc(50_000_000, '# x\n'), [/large\.yaml is larger than 262144 bytes/]],
  ['with an alias bomb', 'bomb.yaml', () => `schemaVersion: v1\n${anchors.join('\n')}\n`, [/bomb\.yaml:\d+/, /alias|values/]],
  ['of JSON that is nested 100,000 deep', 'deep.json', () => `${'['.repeat(100_000)}${']'.repeat(100_000)}`, [/nested deeper than 64/]],
  ['of YAML that is nested 1,000 deep', 'deep.yaml', () => `a: ${'['.repeat(1000)}${']'.repeat(1000)}`, [/nested deeper than 64/]],
  [
    'with a __proto__ key',
    'proto.json',
    () => '{"schemaVersion":"v1","__proto__":{"materials":[]}}',
    [/proto\.json:1:23/, /unknown key '__proto__'/],
  ],
  [
    'with a key that is there twice',
    'twice.yaml',
    () => 'schemaVersion: v1\nmaterials: []\nmaterials: []\n',
    [/twice\.yaml:3:1/, /materials/],
  ],
  ['that is no UTF-8', 'latin.yaml', () => Buffer.from([0x73, 0xff, 0xfe]), [/latin\.yaml is not UTF-8/]],
  ['that is a list', 'list.yaml', () => '- a\n- b\n', [/list\.yaml:1:1/, /map|keys/]],
  ['that is empty', 'nothing.yaml', () => '', [/nothing\.yaml/]],
  ['that is YAML with a tab', 'tab.yaml', () => 'schemaVersion: v1\n\tmaterials: []\n', [/tab\.yaml:2/]],
];
for (const [what, file, content, says] of contracts) {
  test(`workflow contract create: a contract ${what} is refused with 2`, async () => {
    await work.write(file, content());
    refused(await operator('workflow', 'contract', 'create', '--name', 'bad', '-f', file), 2, ...says);
  });
}

const usage: readonly (readonly [args: string, says: RegExp])[] = [
  ['attestation add --nmae a --value b', /--nmae.*--name/],
  ['attestation add --value b', /--name/],
  ['attestation ad', /'ad'.*add/],
  ['attestaton init', /attestaton.*attestation/],
  ['attestation', /needs a command/],
  ['attestation init --dry-run', /--dry-run and --contract <path> go together/],
  ['attestation init --contract-revision zero', /--contract-revision.*zero/],
  ['attestation status extra words', /too many arguments/],
  ['workflow ls --output yaml', /--output: 'yaml' is not one of table, json/],
  ['workflow ls --limit 0', /--limit|limit/],
  ['artifact download -d sha256:abc', /sha256/],
];
for (const [args, says] of usage) {
  test(`chainloop ${args}: a mistake in the command is refused with 2`, async () => {
    refused(await job(...args.split(' ')), 2, says);
  });
}

test('after all that, push says everything that is missing, and the same attestation is finished', async () => {
  const before = await everything();
  refused(await job('attestation', 'push'), 3, /'binary'[\s\S]*'commit'[\s\S]*'sbom'/, /attestation add --name sbom --value/);
  assert.deepEqual(await everything(), before);
  succeeded(await add('binary', 'app.bin'));
  succeeded(await add('commit', 'deadbeef'));
  succeeded(await add('sbom', 'sbom.json'));
  succeeded(await job('attestation', 'push'));
  const { items } = await work.api.run.list.query({});
  assert.deepEqual(
    items.map(({ state }) => state),
    ['success'],
  );
});

/** How to run a command so that the permissions of files count: root passes them by, unless it gives that up. */
function obeyingPermissions(t: TestContext): readonly string[] | undefined {
  if (process.getuid?.() !== 0) return [];
  const through = ['setpriv', '--bounding-set=-dac_override,-dac_read_search'];
  if (spawnSync('setpriv', [...through.slice(1), 'true']).status === 0) return through;
  t.skip('the tests run as root, who may read every file, and setpriv (util-linux) cannot take that away here');
  return undefined;
}
