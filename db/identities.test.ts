import assert from 'node:assert/strict';
import { limits } from '../core/limits.ts';
import { forEachDatabase, newOrganization } from '../test/databases.ts';
import type { OrgScope } from './client.ts';
import { createIdentity, removeIdentity } from './identities.ts';

const trust = (scope: OrgScope, name: string, trustedRoot: string | null = null) =>
  createIdentity(scope, { name, issuer: 'https://i.example', san: `https://i.example/${name}`, match: 'exact', trustedRoot });

forEachDatabase('an organization trusts so many identities, so many of them with roots of their own, and no more', async (_, database) => {
  const [{ scope }, other] = [await newOrganization(database), await newOrganization(database)];
  for (let index = 0; index < limits.ownRoots; index++) await trust(scope, `own-${index}`, '{}');
  await assert.rejects(trust(scope, 'one-more', '{}'), { code: 'LIMIT_EXCEEDED', message: /20 with trusted roots of their own/ });
  for (let index = limits.ownRoots; index < limits.identities; index++) await trust(scope, `ci-${index}`);
  await assert.rejects(trust(scope, 'one-more'), { code: 'LIMIT_EXCEEDED', message: /200 trusted identities.*identity rm/ });
  await trust(other.scope, 'one-more', '{}');
  await removeIdentity(scope, 'own-0');
  await trust(scope, 'one-more', '{}');
});
