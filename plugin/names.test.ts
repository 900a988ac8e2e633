import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Name } from '../core/names.ts';
import { asName } from './names.ts';

test('whatever a CI system calls something becomes a name, or nothing', () => {
  assert.equal(asName('My App_2'), 'my-app-2');
  for (const text of ['-a-', '--', `${'a'.repeat(62)}.b`, `..${'é'.repeat(3)}x${'y'.repeat(80)}`, '', '日本']) {
    const name = asName(text);
    assert.ok(name === undefined || Name.safeParse(name).success, `${text} became ${name}`);
  }
  assert.equal(asName('日本'), undefined);
  assert.equal(asName(undefined), undefined);
});
