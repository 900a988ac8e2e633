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

const run = 'a6ec0229-7796-46fc-8df2-a03f4bddab47';

test('on a terminal an id stays on one line, and other columns give way', () => {
  const drawn = renderTable(
    { header: ['ID', 'WORKFLOW', 'REPOSITORY'], rows: [[run, 'bedrock/release-of-everything', 'acme/app']] },
    { width: 80 },
  );
  assert.ok(drawn.includes(run), drawn);
  for (const line of drawn.trimEnd().split('\n')) assert.equal(displayWidth(line), 80);
});

test('where the columns have no room each row becomes a box of its own, and nothing is lost', () => {
  const header = ['ID', 'PROJECT', 'WORKFLOW', 'STATE', 'CREATED AT', 'RUN URL'];
  const row = [run, 'bedrock', 'release-of-all', 'initialized', '23 Nov 26 09:12 UTC', 'https://github.com/acme/app/actions/runs/1'];
  const drawn = renderTable({ title: 'Runs', header, rows: [row, row] }, { width: 80 });
  assert.equal(drawn.split(run).length, 3, drawn);
  for (const [column, name] of header.entries()) {
    assert.equal(drawn.split('\n').filter((line) => line.startsWith(`│ ${name} `) && line.includes(row[column] ?? '')).length, 2, name);
  }
  assert.equal(drawn.split('├').length, 3, 'a line below the title, and one between the rows');
  assert.ok(renderTable({ header, rows: [row] }).includes(row.join(' │ ')), 'whole in a pipe');
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
