import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChainloopError, type ErrorCode, errorTable, isErrorCode } from '../core/errors.ts';
import { problemLine, reportFailure } from './failure.ts';

function report(error: unknown, json = false, env: Record<string, string> = {}) {
  let said = '';
  const write = (line: string | Uint8Array) => {
    said += `${String(line).trimEnd()}\n`;
    return true;
  };
  const log = { info: write, warn: write, error: (line: string) => write(`ERR ${line}`), detail: (line: string) => write(`    ${line}`) };
  const exitCode = reportFailure(error, { log, stderr: { write }, json, env });
  return { exitCode, said };
}

const codes: readonly ErrorCode[] = Object.keys(errorTable).filter(isErrorCode);

test('the exit code is that of the error table, for every code', () => {
  for (const code of codes) assert.equal(report(new ChainloopError(code, 'x')).exitCode, errorTable[code].exit, code);
  assert.deepEqual(new Set(codes.map((code) => errorTable[code].exit)), new Set([1, 2, 3, 4, 5, 6, 75]));
});

test('why a job is not let in is a table of claims for each binding', () => {
  const of = (binding: string, path: string, found: string) => ({
    path,
    message: `is '${found}'`,
    claim: { binding, expected: 'refs/heads/main', found },
  });
  const problems = [
    of('1 (a/b)', 'ref', 'refs/heads/x'),
    of('1 (a/b)', 'event_name', 'pull\u001b[2J'),
    of('2 (c/d)', 'ref', 'refs/heads/x'),
  ];
  const { exitCode, said } = report(new ChainloopError('NO_BINDING', 'token: nobody lets it in', { problems }));
  assert.equal(exitCode, 5);
  assert.equal(said.match(/Binding [12] \([abcd/]+\)/g)?.length, 2);
  assert.match(said, /│ CLAIM +│ EXPECTED +│ IN THE TOKEN +│/);
  assert.match(said, /│ ref +│ refs\/heads\/main │ refs\/heads\/x +│/);
  assert.ok(!said.includes('\u001b'));
  assert.match(report(new ChainloopError('NO_BINDING', 'x', { problems }), true).said, /"claim":\{"binding":"1 \(a\/b\)"/);
});

test('every problem has a line of its own, with its place', () => {
  const problems = [
    { file: 'c.yaml', line: 3, column: 5, path: 'materials[0].type', message: "unknown 'STRNG'" },
    { path: 'id', message: 'is missing' },
    { message: "material 'sbom' is required" },
  ];
  assert.equal(
    report(new ChainloopError('CONTRACT_INVALID', 'contract: 3 problems', { problems })).said,
    `ERR contract: 3 problems
    c.yaml:3:5: materials[0].type: unknown 'STRNG'
    id: is missing
    material 'sbom' is required
`,
  );
});

test('a problem that is the message itself is not said twice', () => {
  const error = new ChainloopError('USAGE', 'request: id: is missing', { problems: [{ path: 'id', message: 'is missing' }] });
  assert.equal(report(error).said, 'ERR request: id: is missing\n');
});

test('in JSON, a failure is one line with code, message and problems', () => {
  const { said } = report(new ChainloopError('NOT_FOUND', 'run x: not found'), true);
  assert.equal(said, '{"error":{"code":"NOT_FOUND","message":"run x: not found","problems":[]}}\n');
});

test('a defect is one line without a stack, and exit code 1', () => {
  const { exitCode, said } = report(new TypeError('x is not a function'));
  assert.equal(exitCode, 1);
  assert.equal(said, 'ERR unexpected: x is not a function; run it again with CHAINLOOP_DEBUG=1 and report what it shows\n');
});

test('with CHAINLOOP_DEBUG a defect shows its stack and its causes, without tokens', () => {
  const { said } = report(new Error('outer', { cause: new Error('inner chl_sa_secretsecret') }), false, { CHAINLOOP_DEBUG: '1' });
  assert.match(said, /failure\.test\.ts/);
  assert.match(said, /caused by Error: inner \[redacted\]/);
});

test('an unknown place is left out', () => {
  assert.equal(problemLine({ message: 'x', line: 3 }), '3: x');
  assert.equal(problemLine({ message: 'x' }), 'x');
});
