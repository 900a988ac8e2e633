import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { releaseCrafting, releaseMaterials, releaseStart } from '../test/fakes/crafting.ts';
import { type SealedCrafting, seal } from './completeness.ts';
import { Contract } from './contract/schema.ts';
import type { CraftedMaterial, GitHead } from './crafting.ts';
import { digestOf, hexOf, parseDigest } from './digest.ts';
import { ChainloopError, isChainloopError } from './errors.ts';
import { limits } from './limits.ts';
import { materialTypes, runnerTypes } from './names.ts';
import { buildStatement, expectedSubjects, headOf, materialsOf, parseStatement } from './statement.ts';

const origin = { finishedAt: new Date('2026-11-23T08:02:00.000Z'), builderId: `chainloop.dev/cli/0.1.0@${digestOf('cli')}` };
const sealed = seal(releaseCrafting);
const bytes = buildStatement(sealed, origin);
const text = Buffer.from(bytes).toString();
const parseText = (source: string) => parseStatement(Buffer.from(source));

test('the statement is what docs/predicate.md shows, key for key', async () => {
  const document = await readFile(new URL('../docs/predicate.md', import.meta.url), 'utf8');
  const [, example = ''] = /```json\n(.*?)```/s.exec(document) ?? [];
  assert.equal(JSON.stringify(JSON.parse(text), undefined, 2), example.trim());
});

test('the bytes do not depend on the order in which evidence was added', () => {
  const reversed = seal({
    start: { ...releaseStart, env: Object.fromEntries(Object.entries(releaseStart.env).toReversed()) },
    materials: releaseMaterials.toReversed(),
  });
  assert.deepEqual(buildStatement(reversed, origin), bytes);
});

test('evidence and commit come back from the statement as they went in', () => {
  const statement = parseStatement(bytes);
  assert.deepEqual(
    materialsOf(statement),
    releaseMaterials.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  );
  assert.deepEqual(headOf(statement), releaseStart.head);
  assert.deepEqual(expectedSubjects(materialsOf(statement), releaseStart.contract, headOf(statement)), statement.subject);
});

test('a dry run has no run, workflow or revision in its statement, and no empty keys', () => {
  const identity = { ...releaseStart.identity, runId: '', workflowId: '', organization: '', team: '', contractRevision: 0 };
  const materials = releaseMaterials.map((material) => ({ ...material, uploaded: false }));
  const dry = seal({ start: { ...releaseStart, identity, dryRun: true, runner: releaseStart.runner }, materials });
  const { metadata } = parseStatement(buildStatement(dry, origin)).predicate;
  assert.deepEqual(Object.keys(metadata), ['name', 'workflowName', 'project', 'contractName', 'initializedAt', 'finishedAt']);
});

test('a commit of a SHA-256 repository is a gitCommit', () => {
  const head = { commit: 'a'.repeat(64), remotes: [] };
  const statement = parseStatement(buildStatement(seal({ ...releaseCrafting, start: { ...releaseStart, head } }), origin));
  assert.deepEqual(statement.subject[0], { name: 'git.head', digest: { gitCommit: 'a'.repeat(64) } });
  assert.deepEqual(headOf(statement), head);
});

test('pull-request runs attest both commits: the merge and the one that was proposed (lessons.md, 21)', () => {
  const parents = ['b'.repeat(40), 'c'.repeat(40)];
  const head = { commit: 'a'.repeat(40), parents, remotes: [] };
  const statement = parseStatement(buildStatement(seal({ ...releaseCrafting, start: { ...releaseStart, head } }), origin));
  assert.deepEqual(statement.subject[0], { name: 'git.head', digest: { sha1: 'a'.repeat(40) }, annotations: { parents } });
  assert.deepEqual(headOf(statement), head);
});

test('a file called git.head is an output, not the commit', () => {
  const materials = releaseMaterials.map((material) => (material.name === 'binary' ? { ...material, fileName: 'git.head' } : material));
  const statement = parseStatement(buildStatement(seal({ start: { ...releaseStart, head: undefined }, materials }), origin));
  assert.equal(headOf(statement), undefined);
  assert.equal(statement.subject[0]?.name, 'git.head');
});

test('a statement that is too large is not built', () => {
  const value = 'x'.repeat(limits.stringValueSizeBytes);
  const names = Array.from({ length: 200 }, (_, index) => `m${index}`);
  const contract = Contract.parse({ materials: names.map((name) => ({ type: 'STRING', name })) });
  const materials = names.map((name): CraftedMaterial => ({ name, type: 'STRING', value, uploaded: false, annotations: {} }));
  const large = seal({ start: { ...releaseStart, contract, annotations: {} }, materials });
  assert.throws(
    () => buildStatement(large, origin),
    (error) => isChainloopError(error, 'LIMIT_EXCEEDED'),
  );
});

const edit = (
  change: (statement: Record<string, unknown> & { predicate: Record<string, unknown>; subject: unknown[] }) => void,
): string => {
  const copy = JSON.parse(text);
  change(copy);
  return JSON.stringify(copy);
};
const refusals = [
  ['no JSON', 'hello', /expected a value/],
  ['a statement of another version', text.replace('Statement/v1', 'Statement/v0.1'), /_type must be/],
  ['a predicate of another type', text.replace('attestation/v0.2', 'attestation/v0.1'), /predicateType must be/],
  ['no subject', edit((statement) => statement.subject.splice(0)), /subject is empty/],
  ['an unknown key', edit((statement) => Object.assign(statement.predicate, { extra: 1 })), /predicate has unknown keys: extra/],
  ['__proto__', text.replace('"env":{', '"env":{"__proto__":"x",'), /order|env/],
  ['a key twice', text.replace('"buildType":', '"buildType":"chainloop.dev/workflowrun/v0.1","buildType":'), /there twice/],
  ['white space', JSON.stringify(JSON.parse(text), undefined, 1), /another order, or it has white space/],
  ['another order', reordered(), /another order/],
  ['escapes that are not needed', text.replace('"Ada"', '"\\u0041da"'), /escapes that are not needed/],
  ['half of a surrogate pair', text.replace('"Ada"', '"\\ud800"'), /surrogate/],
  ['a byte order mark', `\uFEFF${text}`, /another order/],
  ['text behind it', `${text} {}`, /expected the end/],
  [
    'a STRING whose digest is of another text',
    text.replace(hexOf(digestOf('9a96775d')), hexOf(digestOf('x'))),
    /not the digest of the content/,
  ],
  ['a digest in capitals', text.replaceAll(hexOf(digestOf('binary')), hexOf(digestOf('binary')).toUpperCase()), /problems|lower-case/],
  ['a size below zero', text.replace('"chainloop.material.size":6', '"chainloop.material.size":-6'), /size/],
  ['a revision 0', text.replace('"contractVersion":"3"', '"contractVersion":"0"'), /revision number/],
] as const;

function reordered(): string {
  const { _type, ...rest } = JSON.parse(text);
  return JSON.stringify({ ...rest, _type });
}

for (const [what, source, message] of refusals) {
  test(`a statement with ${what} is refused`, () => {
    assert.notEqual(source, text, 'the change has an effect');
    assert.throws(
      () => parseText(source),
      (error) => {
        assert.ok(error instanceof ChainloopError);
        assert.equal(error.code, 'STATEMENT_INVALID');
        assert.match([error.message, ...error.problems.map((problem) => `${problem.path} ${problem.message}`)].join('\n'), message);
        return true;
      },
    );
  });
}

test('a statement that is not UTF-8 is refused', () => {
  assert.throws(
    () => parseStatement(Buffer.concat([bytes, Buffer.from([0xff])])),
    (error) => isChainloopError(error, 'STATEMENT_INVALID'),
  );
});

test('a statement beyond the limit is refused before it is read', () => {
  assert.throws(
    () => parseStatement(new Uint8Array(limits.statementSizeBytes + 1)),
    (error) => isChainloopError(error, 'LIMIT_EXCEEDED'),
  );
});

// Property: parse(build(x)) is x.
const name = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?$/);
const words = fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }).filter((word) => word.isWellFormed());
const hex = (length: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`));
const values = fc.dictionary(
  fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,10}$/).filter((key) => key !== '__proto__'),
  words,
  {
    maxKeys: 4,
    noNullPrototype: true,
  },
);
const optional = <K extends string, T>(key: K, value: fc.Arbitrary<T>) =>
  fc.option(value, { nil: undefined }).map((it) => (it === undefined ? {} : { [key]: it }));
const material: fc.Arbitrary<CraftedMaterial> = fc
  .record({ name, type: fc.constantFrom(...materialTypes), value: words, hex: hex(64), fileName: words, sizeBytes: fc.nat(), values })
  .map(({ name, type, value, hex, fileName, sizeBytes, values: annotations }) =>
    type === 'STRING'
      ? { name, type, value, uploaded: false, annotations }
      : {
          name,
          type,
          digest: parseDigest(`sha256:${hex}`),
          fileName,
          ...(type === 'CONTAINER_IMAGE' ? { tag: name } : { sizeBytes }),
          uploaded: type !== 'CONTAINER_IMAGE',
          annotations,
        },
  );
const head: fc.Arbitrary<GitHead> = fc
  .tuple(
    fc.oneof(hex(40), hex(64)),
    optional('authorName', words),
    optional('message', words),
    optional('parents', fc.array(hex(40), { minLength: 2, maxLength: 3 })),
    fc.array(fc.record({ name: words, url: fc.webUrl() }, { noNullPrototype: true }), { maxLength: 2 }),
  )
  .map(([commit, author, message, parents, remotes]) => ({ commit, ...author, ...message, ...parents, remotes }));
const crafting: fc.Arbitrary<SealedCrafting> = fc
  .record({
    materials: fc.uniqueArray(material, { maxLength: 6, selector: (it) => it.name }),
    head,
    values,
    runner: fc.constantFrom(...runnerTypes),
  })
  .map(({ materials, head, values, runner }) => {
    const annotations = Object.keys(values).map((key) => ({ name: key, value: '' }));
    const contract = {
      materials: materials.map((it) => ({
        type: it.type,
        name: it.name,
        optional: false,
        output: it.type !== 'STRING',
        skipUpload: false,
        annotations: Object.keys(it.annotations).map((key) => ({ name: key, value: '' })),
      })),
      envAllowList: Object.keys(values),
      annotations,
    };
    return seal({
      start: { ...releaseStart, contract, head, env: values, annotations: values, runner: { type: runner, authenticated: false } },
      materials,
    });
  });

test('for any crafting, parse(build(x)) is x', () => {
  fc.assert(
    fc.property(crafting, (sealed) => {
      const statement = parseStatement(buildStatement(sealed, origin));
      assert.deepEqual(
        materialsOf(statement),
        sealed.materials.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      );
      assert.deepEqual(headOf(statement), sealed.start.head);
      assert.deepEqual({ ...statement.predicate.env }, { ...sealed.start.env });
      assert.deepEqual({ ...statement.predicate.annotations }, { ...sealed.start.annotations });
      assert.equal(statement.predicate.runnerType, sealed.start.runner.type);
      assert.deepEqual(expectedSubjects(materialsOf(statement), sealed.start.contract, headOf(statement)), statement.subject);
    }),
    { numRuns: 200 },
  );
});

test('for any bytes, parsing gives the same bytes back, or one of our errors (faults.md, S17)', () => {
  fc.assert(
    fc.property(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 }), (at, byte) => {
      const changed = Uint8Array.from(bytes);
      changed[at] = byte;
      try {
        const statement = parseStatement(changed);
        assert.equal(JSON.stringify(statement).length > 0, true);
      } catch (error) {
        assert.ok(isChainloopError(error, 'STATEMENT_INVALID'), String(error));
      }
    }),
    { numRuns: 500 },
  );
});
