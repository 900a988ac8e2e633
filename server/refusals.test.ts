import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../core/limits.ts';
import { createLog } from './log.ts';
import { createRefusals } from './refusals.ts';

test('an organization whose tokens are refused for ever hides no refusal of another one, nor of the owner, and writes no more than so many an hour', () => {
  let at = 0;
  const written: string[] = [];
  const refusals = createRefusals({ log: createLog('silent', { write() {} }), now: () => new Date(at) });
  const refuse = (whose: string, key: string): void => refusals(whose, key, async () => void written.push(`${whose} ${key}`));
  for (let token = 0; token < 2 * limits.refusals; token++) refuse('evil', `token ${token}`);
  assert.equal(written.length, limits.refusals);
  for (const whose of ['acme', '']) for (const _ of ['once', 'again']) refuse(whose, 'organization.create');
  assert.deepEqual(written.slice(limits.refusals), ['acme organization.create', ' organization.create']);
  at += limits.refusalEveryMs;
  refuse('evil', 'token 0');
  refuse('acme', 'organization.create');
  assert.equal(written.length, limits.refusals + 4);
});
