import assert from 'node:assert/strict';
import { test } from 'node:test';
import { databaseRefusal } from './violation.ts';

const coded = (code: string, more: object = {}) => Object.assign(new Error('x'), { code, ...more });

test('the SQLSTATE and the constraint are found however deep the error is wrapped', () => {
  const inner = coded('23505', { constraint: 'organizations_name_key' });
  const wrapped = new Error('Failed query', { cause: new Error('deeper', { cause: inner }) });
  assert.deepEqual(databaseRefusal(wrapped), { state: '23505', constraint: 'organizations_name_key' });
});

test('an error of the operating system is no answer of the database', () => {
  for (const code of ['EPIPE', 'ECONNRESET', 'ERR_INVALID_ARG_TYPE']) assert.equal(databaseRefusal(coded(code)), undefined);
  assert.equal(databaseRefusal('23505'), undefined);
});
