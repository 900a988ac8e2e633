import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { rejection } from '../test/refusal.ts';
import { files } from './adapters/files.ts';
import { isChainloopError } from './errors.ts';
import { limits } from './limits.ts';
import { checkKind, kinds } from './material.ts';
import { type MaterialType, materialTypes } from './names.ts';

const vectors = new URL('../../shared/vectors/sbom/', import.meta.url);

/** A file in memory. */
function memory(content: string | Uint8Array, fileName = 'file.json') {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  return {
    fileName,
    sizeBytes: bytes.length,
    async *read() {
      for (let offset = 0; offset < bytes.length; offset += 1000) yield bytes.subarray(offset, offset + 1000);
    },
  };
}

const cyclonedx = { bomFormat: 'CycloneDX', specVersion: '1.6', version: 1 };
const spdx = {
  spdxVersion: 'SPDX-2.3',
  dataLicense: 'CC0-1.0',
  SPDXID: 'SPDXRef-DOCUMENT',
  name: 'app',
  documentNamespace: 'https://example.com/app',
  creationInfo: { created: '2026-11-23T09:00:00Z', creators: ['Tool: syft-1.0'] },
};
const third = {
  '@context': 'https://spdx.org/rdf/3.0.1/spdx-context.jsonld',
  '@graph': [
    { type: 'CreationInfo', '@id': '_:info', specVersion: '3.0.1', created: '2026-11-23T09:00:00Z', createdBy: ['https://example.com/me'] },
    { type: 'SpdxDocument', spdxId: 'https://example.com/doc', name: 'app', creationInfo: '_:info' },
    { type: 'Tool', spdxId: 'https://example.com/tool', name: 'bitbake' },
    { type: 'software_Package', spdxId: 'https://example.com/package', name: 'app' },
  ],
};

test('there is one row for every kind that a contract may name', () => {
  assert.deepEqual(
    Object.entries(kinds).map(([type, kind]) => [type, kind.type]),
    materialTypes.map((type) => [type, type]),
  );
});

test('docs/materials.md has every kind, with its limits', () => {
  const text = readFileSync(new URL('../docs/materials.md', import.meta.url), 'utf8');
  const documented = Array.from(text.matchAll(/^\| `([A-Z_]+)` \| (.+?) \|/gm), ([, type, value]) => [type, value]);
  assert.deepEqual(documented.map(([type]) => type).toSorted(), Object.keys(kinds).toSorted());
  for (const [type, value] of documented) {
    const kind = Object.values(kinds).find((candidate) => candidate.type === type);
    if (kind?.format !== undefined) assert.ok(value?.includes(`at most ${kind.format.maxBytes / 1024 ** 2} MiB`), value);
  }
  assert.ok(text.includes(`at most ${limits.stringValueSizeBytes / 1024} KiB`));
});

test('any file is an ARTIFACT and EVIDENCE, and is not read to find out', async () => {
  const unread = { fileName: 'a', sizeBytes: 2 ** 40, read: () => assert.fail('it was read') };
  for (const type of ['ARTIFACT', 'EVIDENCE'] as const) assert.deepEqual(await checkKind(type, unread), {});
});

for (const [what, type, document, summary] of [
  ['the smallest CycloneDX', 'SBOM_CYCLONEDX_JSON', cyclonedx, { format: 'CycloneDX 1.6', components: '0' }],
  [
    'CycloneDX with tools as components',
    'SBOM_CYCLONEDX_JSON',
    {
      ...cyclonedx,
      metadata: {
        tools: { components: [{ type: 'application', name: 'cdxgen', version: '11' }] },
        component: { type: 'application', name: 'app', version: '1.0' },
      },
      components: [{ type: 'library', name: 'x' }],
    },
    { format: 'CycloneDX 1.6', components: '1', tool: 'cdxgen 11', main: 'app 1.0' },
  ],
  [
    'CycloneDX with a licence that is newer than the schema',
    'SBOM_CYCLONEDX_JSON',
    { ...cyclonedx, components: [{ type: 'library', name: 'x', licenses: [{ license: { id: 'New-Licence-9.9' } }] }] },
    { format: 'CycloneDX 1.6', components: '1' },
  ],
  ['the smallest SPDX 2', 'SBOM_SPDX_JSON', spdx, { format: 'SPDX 2.3', components: '0', tool: 'syft-1.0', main: 'app' }],
  [
    'SPDX 2 with a package that npm names with an underscore',
    'SBOM_SPDX_JSON',
    { ...spdx, packages: [{ SPDXID: 'SPDXRef-Package-lodash_x-1.0', name: 'lodash_x', downloadLocation: 'NOASSERTION' }] },
    { format: 'SPDX 2.3', components: '1', tool: 'syft-1.0', main: 'app' },
  ],
  ['SPDX 3', 'SBOM_SPDX_JSON', third, { format: 'SPDX 3.0.1', components: '1', tool: 'bitbake', main: 'app' }],
] as const) {
  test(`${what} is accepted, and summed up`, async () => {
    const expected = Object.entries(summary).map(([key, value]) => [`chainloop.material.sbom.${key}`, value]);
    assert.deepEqual(await checkKind(type, memory(JSON.stringify(document))), Object.fromEntries(expected));
    assert.deepEqual(await checkKind(type, memory(`\uFEFF${JSON.stringify(document, null, 2)}`)), Object.fromEntries(expected));
  });
}

for (const [content, found] of [
  [JSON.stringify(spdx), 'an SPDX 2.3 JSON document'],
  [JSON.stringify(third), 'an SPDX 3 JSON document'],
  ['{"bomFormat": "CDX"}', 'a document whose bomFormat is not CycloneDX'],
  ['{"_type": "https://in-toto.io/Statement/v1", "predicateType": "x"}', 'an in-toto statement'],
  ['{"payloadType": "x", "payload": "", "signatures": []}', 'a DSSE envelope'],
  ['{"dsseEnvelope": {}}', 'a Sigstore bundle'],
  ['{"version": "2.1.0", "runs": []}', 'a SARIF log'],
  ['{"schemaVersion": 2}', 'an OCI manifest or index'],
  ['{"schemaVersion": "v1"}', 'a Chainloop contract'],
  ['{"artifacts": [], "descriptor": {}}', 'a syft document in its own format'],
  ['{}', 'a JSON object of another kind'],
  ['[]', 'a JSON list'],
  ['{"__proto__": {"bomFormat": "CycloneDX"}}', 'a JSON object of another kind'],
  ['<?xml version="1.0"?><bom xmlns="http://cyclonedx.org/schema/bom/1.4"/>', 'a CycloneDX XML document'],
  ['<?xml version="1.0"?><testsuite/>', 'an XML document'],
  ['<!DOCTYPE html>', 'an HTML page'],
  ['SPDXVersion: SPDX-2.3', 'an SPDX tag-value document'],
  ['hello', 'text that is not JSON'],
  [Buffer.from('1f8b0800', 'hex'), 'a gzip archive'],
  ['PK\x03\x04', 'a zip archive'],
  ['\x7fELF', 'a program'],
  ['ab\x00', 'binary data'],
] as const) {
  test(`${found} is not CycloneDX, and the message says both`, async () => {
    const { code, message } = await rejection(checkKind('SBOM_CYCLONEDX_JSON', memory(content, 'bom')));
    assert.deepEqual({ code, message }, { code: 'MATERIAL_KIND_MISMATCH', message: `bom: found ${found}; wanted CycloneDX JSON` });
  });
}

test('CycloneDX is not SPDX, and the message says both', async () => {
  const { code, message } = await rejection(checkKind('SBOM_SPDX_JSON', memory(JSON.stringify(cyclonedx))));
  assert.equal(code, 'MATERIAL_KIND_MISMATCH');
  assert.equal(message, 'file.json: found a CycloneDX 1.6 JSON document; wanted SPDX JSON');
});

const packages = [{ SPDXID: 'SPDXRef-a', name: 'a', downloadLocation: 'NONE' }];
for (const [what, type, document, problems] of [
  [
    'an unknown specVersion',
    'SBOM_CYCLONEDX_JSON',
    { ...cyclonedx, specVersion: '9.9' },
    [{ path: 'specVersion', message: 'must be one of 1.2, 1.3, 1.4, 1.5, 1.6, 1.7' }],
  ],
  [
    'a specVersion without JSON',
    'SBOM_CYCLONEDX_JSON',
    { ...cyclonedx, specVersion: '1.1' },
    [{ path: 'specVersion', message: 'must be one of 1.2, 1.3, 1.4, 1.5, 1.6, 1.7' }],
  ],
  [
    'no specVersion',
    'SBOM_CYCLONEDX_JSON',
    { bomFormat: 'CycloneDX' },
    [{ path: 'specVersion', message: 'must be one of 1.2, 1.3, 1.4, 1.5, 1.6, 1.7' }],
  ],
  [
    'several mistakes',
    'SBOM_CYCLONEDX_JSON',
    { ...cyclonedx, version: '1', components: [{ name: 'x' }, { type: 'thing', name: 'y' }], extra: 1 },
    [
      { path: undefined, message: "unknown key 'extra'" },
      { path: 'version', message: 'must be integer' },
      { path: 'components[0]', message: "must have required property 'type'" },
    ],
  ],
  [
    'a time that is none',
    'SBOM_CYCLONEDX_JSON',
    { ...cyclonedx, metadata: { timestamp: 'yesterday' } },
    [{ path: 'metadata.timestamp', message: 'must match format "date-time"' }],
  ],
  [
    'another licence of its data',
    'SBOM_SPDX_JSON',
    { ...spdx, dataLicense: 'MIT' },
    [{ path: 'dataLicense', message: "must be 'CC0-1.0'" }],
  ],
  [
    'SPDX 2.1',
    'SBOM_SPDX_JSON',
    { ...spdx, spdxVersion: 'SPDX-2.1' },
    [{ path: 'spdxVersion', message: "must be 'SPDX-2.2' or 'SPDX-2.3'" }],
  ],
  ['no name', 'SBOM_SPDX_JSON', { ...spdx, name: undefined }, [{ path: 'name', message: 'missing; must be text' }]],
  [
    'a namespace with a fragment',
    'SBOM_SPDX_JSON',
    { ...spdx, documentNamespace: 'https://a/#b' },
    [{ path: 'documentNamespace', message: "must be an absolute URI without '#'" }],
  ],
  [
    'no creator',
    'SBOM_SPDX_JSON',
    { ...spdx, creationInfo: { created: '2026-11-23T09:00:00Z', creators: [] } },
    [{ path: 'creationInfo.creators', message: 'must name one creator at least' }],
  ],
  ['packages that are no list', 'SBOM_SPDX_JSON', { ...spdx, packages: {} }, [{ path: 'packages', message: 'must be a list' }]],
  [
    'a package without identifier',
    'SBOM_SPDX_JSON',
    { ...spdx, packages: [{ ...packages[0], SPDXID: '' }] },
    [{ path: 'packages[0].SPDXID', message: "must begin with 'SPDXRef-'" }],
  ],
  [
    'an identifier twice',
    'SBOM_SPDX_JSON',
    { ...spdx, packages: [...packages, ...packages] },
    [{ path: 'packages[1].SPDXID', message: 'is the identifier of another element too' }],
  ],
  [
    'a checksum that is none',
    'SBOM_SPDX_JSON',
    { ...spdx, packages: [{ ...packages[0], checksums: [{ algorithm: 'SHA256', checksumValue: 'x' }] }] },
    [{ path: 'packages[0].checksums[0].checksumValue', message: 'must be hexadecimal' }],
  ],
  [
    'an empty SPDX 3 graph',
    'SBOM_SPDX_JSON',
    { ...third, '@graph': [] },
    [{ path: '@graph', message: 'must be a list of elements, and not empty' }],
  ],
  [
    'an SPDX 3 graph without a document',
    'SBOM_SPDX_JSON',
    { ...third, '@graph': third['@graph'].slice(0, 1) },
    [{ path: '@graph', message: 'must have an element of type SpdxDocument' }],
  ],
] as const) {
  test(`${type} with ${what} is refused`, async () => {
    const error = await rejection(checkKind(type, memory(JSON.stringify(document))));
    assert.equal(error.code, 'MATERIAL_INVALID');
    const found = error.problems.map(({ path, message }) => ({ path, message }));
    for (const problem of problems)
      assert.ok(
        found.some((other) => other.path === problem.path && other.message === problem.message),
        JSON.stringify(found),
      );
  });
}

test('the components of CycloneDX 1.3 may have keys of their own, those of 1.4 may not', async () => {
  const document = (specVersion: string) =>
    memory(JSON.stringify({ ...cyclonedx, specVersion, components: [{ type: 'library', name: 'x', version: '1', extra: 1 }] }));
  assert.equal((await checkKind('SBOM_CYCLONEDX_JSON', document('1.3')))['chainloop.material.sbom.format'], 'CycloneDX 1.3');
  assert.deepEqual((await rejection(checkKind('SBOM_CYCLONEDX_JSON', document('1.4')))).problems, [
    { message: "unknown key 'extra'", path: 'components[0]' },
  ]);
});

for (const [what, content, line, column] of [
  ['is cut off', '{\n "bomFormat": "CycloneDX",\n', 3, 1],
  ['has a comma too many', '{"bomFormat": "CycloneDX",}', 1, 27],
  ['is not UTF-8', Buffer.concat([Buffer.from('{"a": "'), Buffer.from([0xff]), Buffer.from('"}')]), undefined, undefined],
] as const) {
  test(`JSON that ${what} is refused with its place, and without its content`, async () => {
    const error = await rejection(checkKind('SBOM_CYCLONEDX_JSON', memory(content)));
    assert.equal(error.code, 'MATERIAL_INVALID');
    const place = line === undefined ? {} : { line, column };
    assert.deepEqual(error.problems, [{ message: 'not valid JSON in UTF-8; it may be cut off', ...place }]);
  });
}

test('the size is looked at before the content', async () => {
  const huge = { fileName: 'a', sizeBytes: limits.sbomSizeBytes + 1, read: () => assert.fail('it was read') };
  for (const type of ['SBOM_CYCLONEDX_JSON', 'SBOM_SPDX_JSON'] as const)
    assert.equal((await rejection(checkKind(type, huge))).code, 'LIMIT_EXCEEDED');
});

test('nesting that would end the process is refused (S8)', async () => {
  const { code, message } = await rejection(
    checkKind('SBOM_CYCLONEDX_JSON', memory(`{"bomFormat":"CycloneDX","a":${'['.repeat(1_000_000)}`)),
  );
  assert.equal(code, 'MATERIAL_INVALID');
  assert.match(message, /nested deeper than 64 levels/);
});

test('__proto__ is a key like any other, and pollutes nothing (S13)', async () => {
  const text = JSON.stringify(cyclonedx).replace('{', '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},');
  const { problems } = await rejection(checkKind('SBOM_CYCLONEDX_JSON', memory(text)));
  assert.deepEqual(problems.map(({ message }) => message).toSorted(), ["unknown key '__proto__'", "unknown key 'constructor'"]);
  assert.deepEqual(await checkKind('SBOM_SPDX_JSON', memory(JSON.stringify(spdx).replace('{', '{"__proto__":{"polluted":1},'))), {
    'chainloop.material.sbom.format': 'SPDX 2.3',
    'chainloop.material.sbom.components': '0',
    'chainloop.material.sbom.tool': 'syft-1.0',
    'chainloop.material.sbom.main': 'app',
  });
  assert.equal(Reflect.get(Object.prototype, 'polluted'), undefined);
});

test('of a million problems 20 are shown, and memory stays bounded (S9)', async () => {
  const components = (count: number) => `[${'1,'.repeat(count)}1]`;
  for (const [type, text] of [
    ['SBOM_CYCLONEDX_JSON', `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":${components(100_000)}}`],
    ['SBOM_CYCLONEDX_JSON', `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":${components(2_000_000)}}`],
    ['SBOM_SPDX_JSON', JSON.stringify(spdx).replace(/}$/, `,"packages":${components(2_000_000)}}`)],
  ] as const) {
    const error = await rejection(checkKind(type, memory(text)));
    assert.equal(error.code, 'MATERIAL_INVALID');
    assert.ok(error.problems.length > 0 && error.problems.length <= limits.problems);
    assert.ok(error.message.length < 200);
  }
});

test('20,000 components take no more than seconds, and one of them twice is found', { timeout: 240_000 }, async () => {
  const components = Array.from({ length: 20_000 }, (_, index) => ({ type: 'library', name: `n${index}`, purl: `pkg:npm/n${index}@1` }));
  const text = (list: readonly unknown[]) => memory(JSON.stringify({ ...cyclonedx, components: list }));
  assert.equal((await checkKind('SBOM_CYCLONEDX_JSON', text(components)))['chainloop.material.sbom.components'], '20000');
  const { problems } = await rejection(checkKind('SBOM_CYCLONEDX_JSON', text([...components, components[7]])));
  assert.deepEqual(problems, [{ message: 'has an item twice', path: 'components' }]);
});

test('a file that is not as long as it said has changed', async () => {
  const file = memory(JSON.stringify(cyclonedx));
  for (const sizeBytes of [file.sizeBytes - 5, file.sizeBytes + 5])
    assert.equal((await rejection(checkKind('SBOM_CYCLONEDX_JSON', { ...file, sizeBytes }))).code, 'FILE_CHANGED');
});

test('no document makes it throw anything but our error, and it changes none', async () => {
  const bases = fc.constantFrom<Record<string, unknown>>({}, spdx, third);
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.string(),
        fc
          .tuple(
            bases,
            fc.dictionary(
              fc.constantFrom('packages', 'files', '@graph', 'creationInfo', 'name', 'SPDXID', 'bomFormat', '__proto__', 'relationships'),
              fc.jsonValue(),
            ),
          )
          .map(([base, changes]) => JSON.stringify({ ...base, ...changes })),
      ),
      async (text) => {
        try {
          await checkKind('SBOM_SPDX_JSON', memory(text));
        } catch (error) {
          assert.ok(isChainloopError(error), String(error));
        }
      },
    ),
    { numRuns: 500, seed: 7 },
  );
});

test('no document with mutations makes CycloneDX throw anything but our error', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(
        fc.constantFrom('metadata', 'components', 'services', 'dependencies', 'version', 'serialNumber', '$schema'),
        fc.jsonValue(),
      ),
      async (changes) => {
        try {
          await checkKind('SBOM_CYCLONEDX_JSON', memory(JSON.stringify({ ...cyclonedx, specVersion: '1.2', ...changes })));
        } catch (error) {
          assert.ok(isChainloopError(error), String(error));
        }
      },
    ),
    { numRuns: 25, seed: 7 },
  );
});

/** What each real document is, by the specification version that it names. */
const verdicts: readonly (readonly [
  path: string,
  type: MaterialType,
  verdict: 'accepted' | 'MATERIAL_INVALID' | 'MATERIAL_KIND_MISMATCH',
  why: string,
])[] = [
  ['cyclonedx/alpine.json', 'SBOM_CYCLONEDX_JSON', 'accepted', 'valid 1.4'],
  ['cyclonedx/cern-lhc-vdm-editor.json', 'SBOM_CYCLONEDX_JSON', 'accepted', 'valid 1.2'],
  ['cyclonedx/laravel.1.2.json', 'SBOM_CYCLONEDX_JSON', 'accepted', 'valid 1.2'],
  ['cyclonedx/laravel.1.4.json', 'SBOM_CYCLONEDX_JSON', 'accepted', 'valid 1.4'],
  ['cyclonedx/proton-bridge-1.8.0.json', 'SBOM_CYCLONEDX_JSON', 'accepted', 'valid 1.2'],
  ['cyclonedx/vex-cisa-case-2.json', 'SBOM_CYCLONEDX_JSON', 'accepted', 'valid 1.4, though it lists vulnerabilities and no components'],
  [
    'cyclonedx/distroless-invalid-version.json',
    'SBOM_CYCLONEDX_JSON',
    'accepted',
    'valid 1.4, whatever its name says: the specification leaves the form of a component version to its maker',
  ],
  [
    'cyclonedx/cyclonedx-1.7.json',
    'SBOM_CYCLONEDX_JSON',
    'MATERIAL_INVALID',
    'in 1.7 the asserter of a patent assertion is a person, an organization or a bare reference, and not an object with a ref',
  ],
  [
    'cyclonedx/invalid.json',
    'SBOM_CYCLONEDX_JSON',
    'MATERIAL_KIND_MISMATCH',
    'every version says that bomFormat is CycloneDX; this one says CDX',
  ],
  [
    'spdx/alpine-small.json',
    'SBOM_SPDX_JSON',
    'accepted',
    '2.2 without the copyright texts and checksums of directories that 2.3 no longer demands, or that no tool can give',
  ],
  ['spdx/go-multi-arch.json', 'SBOM_SPDX_JSON', 'accepted', 'valid 2.2'],
  ['spdx/oci-kubectl-linux-amd64.json', 'SBOM_SPDX_JSON', 'accepted', '2.2 without copyright texts'],
  [
    'spdx/invalid-identifier.json',
    'SBOM_SPDX_JSON',
    'MATERIAL_INVALID',
    '2.2, 6.3: the identifier of the document is SPDXRef-DOCUMENT; creators are text; packages have a name',
  ],
  ['spdx/invalid.json', 'SBOM_SPDX_JSON', 'MATERIAL_INVALID', 'its version is the number 2; it has neither name nor namespace'],
];

for (const [path, type, verdict, why] of verdicts) {
  test(`${path} is ${verdict}: ${why}`, async (t) => {
    const url = new URL(path, vectors);
    if (!existsSync(url)) {
      t.skip('the shared test vectors are not on this machine (../shared/vectors/sbom)');
      return;
    }
    await using file = await files.open(url.pathname);
    const outcome = await checkKind(type, file).then(
      () => 'accepted',
      (error: unknown) => (isChainloopError(error) ? error.code : Promise.reject(error)),
    );
    assert.equal(outcome, verdict);
    const other = type === 'SBOM_SPDX_JSON' ? 'SBOM_CYCLONEDX_JSON' : 'SBOM_SPDX_JSON';
    assert.equal((await rejection(checkKind(other, memory(await readFile(url))))).code, 'MATERIAL_KIND_MISMATCH');
  });
}
