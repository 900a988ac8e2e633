import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { renderTable } from './table.ts';
import { displayWidth } from './width.ts';

test('rows have no lines between them, sections have', () => {
  assert.equal(
    renderTable({ rows: [['Initialized At', '28 Oct 22 21:02 UTC'], 'line', ['Workflow', '20e8514d'], ['Name', 'release']] }),
    `┌────────────────┬─────────────────────┐
│ Initialized At │ 28 Oct 22 21:02 UTC │
├────────────────┼─────────────────────┤
│ Workflow       │ 20e8514d            │
│ Name           │ release             │
└────────────────┴─────────────────────┘
`,
  );
});

test('a title spans all columns above the header', () => {
  assert.equal(
    renderTable({ title: 'Materials', header: ['NAME', 'TYPE', 'IS OUTPUT'], rows: [['commit', 'STRING', '']] }),
    `┌─────────────────────────────┐
│ Materials                   │
├────────┬────────┬───────────┤
│ NAME   │ TYPE   │ IS OUTPUT │
├────────┼────────┼───────────┤
│ commit │ STRING │           │
└────────┴────────┴───────────┘
`,
  );
});

test('a title without a header stands right above its rows', () => {
  assert.equal(
    renderTable({ title: 'Env Variables', rows: [['A', 'b']] }),
    `┌───────────────┐
│ Env Variables │
├───┬───────────┤
│ A │ b         │
└───┴───────────┘
`,
  );
});

test('counts are aligned to the right', () => {
  assert.equal(
    renderTable({
      header: ['NAME', '# RUNS'],
      rows: [
        ['a', '14'],
        ['b', '133'],
      ],
      right: [1],
    }),
    `┌──────┬────────┐
│ NAME │ # RUNS │
├──────┼────────┤
│ a    │     14 │
│ b    │    133 │
└──────┴────────┘
`,
  );
});

test('a table without rows is its header', () => {
  assert.equal(renderTable({ header: ['ID'], rows: [] }), '┌────┐\n│ ID │\n└────┘\n');
});

test('wide characters keep the columns straight', () => {
  const lines = renderTable({ header: ['NAME'], rows: [['東京'], ['abcdef'], ['e\u0301']] })
    .trimEnd()
    .split('\n');
  assert.deepEqual(new Set(lines.map(displayWidth)), new Set([10]));
});

test('controls in a cell are escaped before they are measured', () => {
  assert.match(renderTable({ rows: [['a\x1b[31mb\n']] }), /│ a\\x1b\[31mb\\n │/);
});

test('without a width, a long value stays whole', () => {
  assert.ok(renderTable({ rows: [['x'.repeat(300)]] }).includes('x'.repeat(300)));
});

test('on a terminal, long values are broken over lines and nothing is lost', () => {
  const value = `control-plane@sha256:${'5f'.repeat(32)}`;
  const drawn = renderTable(
    {
      header: ['NAME', 'VALUE'],
      rows: [
        ['control-plane-linux-amd64', value],
        ['b', 'c'],
      ],
    },
    { width: 80 },
  );
  for (const line of drawn.trimEnd().split('\n')) assert.equal(displayWidth(line), 80);
  const second = drawn.split('\n').map((line) => line.split('│')[2]?.trim() ?? '');
  assert.ok(second.join('').includes(value));
});

test('a value is broken at a space where there is one', () => {
  const drawn = renderTable({ rows: [['Created', '03 Nov 22 22:31 UTC']] }, { width: 28 });
  assert.match(drawn, /│ Created │ 03 Nov 22 {6}│\n│ {9}│ 22:31 UTC {6}│/);
});

test('every line of a table is equally wide, whatever is in it and however wide the terminal', () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 30 });
  const row = fc.array(text, { minLength: 3, maxLength: 3 });
  fc.assert(
    fc.property(
      fc.array(row, { minLength: 1, maxLength: 5 }),
      fc.option(fc.integer({ min: 20, max: 90 }), { nil: undefined }),
      (rows, width) => {
        const lines = renderTable({ title: 'T', header: ['A', 'B', 'C'], rows }, { width })
          .trimEnd()
          .split('\n');
        assert.equal(new Set(lines.map((line) => displayWidth(line))).size, 1);
      },
    ),
  );
});
