import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../core/limits.ts';
import { createFakeAuthority } from '../test/fakes/authority.ts';
import { createTrustRoots } from './trust-roots.ts';

test('trusted roots that an organization brings neither push out the built-in one nor fill the memory', async () => {
  const roots = createTrustRoots();
  const text = createFakeAuthority().trustRoot();
  /** The same in other white space, as large as may be. */
  const large = (index: number): string => text + ' '.repeat(limits.ownRootSizeBytes - text.length - index);
  const builtIn = await roots.loadBuiltIn(text);
  const first = await roots.load(large(0));
  for (let index = 1; index < limits.ownRoots; index++) await roots.load(large(index));
  assert.equal(await roots.load(large(0)), first, 'all that one organization may have has room');
  for (let index = 0; index < limits.ownRoots; index++) await roots.load(large(100 + index));
  assert.notEqual(await roots.load(large(0)), first);
  assert.equal(await roots.loadBuiltIn(text), builtIn);
  const rotated = await roots.loadBuiltIn(`${text} `);
  assert.equal(await roots.loadBuiltIn(`${text} `), rotated);
});

test('a trusted root that cannot be read is asked for again', async () => {
  const roots = createTrustRoots();
  for (const load of [roots.load, roots.loadBuiltIn]) {
    const refused = load('{}');
    await assert.rejects(refused, { code: 'TRUST_ROOT_INVALID' });
    assert.notEqual(
      load('{}').catch(() => undefined),
      refused,
    );
  }
});
