import assert from 'node:assert/strict';
import { test } from 'node:test';
import { welcome } from './server.ts';

const place = { url: 'http://127.0.0.1:8080', dataDir: '/data', embedded: false, program: 'npx chainloop' };

test('the next steps that a server prints work as they are: this program, and a file that is there', () => {
  const first = welcome({ ...place, tokenFile: '/data/owner-token' });
  assert.match(first, /^ {2}export CHAINLOOP_URL=http:\/\/127\.0\.0\.1:8080 CHAINLOOP_TOKEN="\$\(cat '\/data\/owner-token'\)"$/m);
  assert.match(first, /^ {2}npx chainloop org create --name acme$/m);
  const second = welcome({ ...place, tokenFile: undefined });
  assert.match(second, /CHAINLOOP_TOKEN='<the owner token>'$/m);
  assert.doesNotMatch(second, /cat /);
});
