import assert from 'node:assert/strict';
import { test } from 'node:test';
import { busyMs } from '../test/busy.ts';
import { didYouMean, nearest } from './nearest.ts';

const keys = ['materials', 'envAllowList', 'runner', 'annotations', 'optional', 'output'];

for (const [word, expected] of [
  ['enAllowList', 'envAllowList'],
  ['optinal', 'optional'],
  ['ouptut', 'output'],
  ['material', 'materials'],
  ['env_allow_list', 'envAllowList'],
  ['RUNNER', 'runner'],
  ['x', undefined],
  ['', undefined],
  ['constructor', undefined],
  ['__proto__', undefined],
] as const) {
  test(`the nearest known word of '${word}' is ${expected ?? 'none'}`, () => {
    assert.equal(nearest(word, keys), expected);
  });
}

test('a guess is put as a question, and no guess as nothing', () => {
  assert.equal(didYouMean('optinal', keys), "; did you mean 'optional'?");
  assert.equal(didYouMean('zzz', keys), '');
});

test('a word of 50,000 letters costs no more than one of 100 (S10)', async () => {
  assert.ok((await busyMs(() => nearest('a'.repeat(50_000), keys))) < 50);
});
