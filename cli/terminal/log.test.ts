import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutSecrets } from './log.ts';

test('tokens and passwords in URLs are taken out of every line', () => {
  assert.equal(withoutSecrets('401 for chl_sa_abcDEF-_123456: refused'), '401 for [redacted]: refused');
  assert.equal(withoutSecrets('GET https://robot:hunter2@registry.test/v2/'), 'GET https://[redacted]@registry.test/v2/');
});

test('the token of a CI system is taken out, whole or cut off, and its credential', () => {
  const jwt = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyZXBvOmFjbWUvYXBwIn0.c2lnbmF0dXJl-_';
  assert.equal(withoutSecrets(`token ${jwt}: bad`), 'token [redacted]: bad');
  assert.equal(withoutSecrets(`"${jwt.slice(0, 30)}"`), '"[redacted]"');
  assert.equal(withoutSecrets('run credential chl_r_abc-DEF_1: expired'), 'run credential [redacted]: expired');
});

test('mail addresses and digests stay', () => {
  const text = 'app@sha256:00 by a@b.test at https://registry.test/v2/x';
  assert.equal(withoutSecrets(text), text);
});
