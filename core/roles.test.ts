import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayAct, tokenRoles } from './roles.ts';

test('each role may do what is its own, and what those below it may; attest is beside them', () => {
  const may = tokenRoles.map((own) => [own, tokenRoles.filter((needed) => mayAct(own, needed))]);
  assert.deepEqual(Object.fromEntries(may), {
    owner: ['owner', 'admin', 'viewer', 'attest'],
    admin: ['admin', 'viewer', 'attest'],
    viewer: ['viewer'],
    attest: ['attest'],
  });
});
