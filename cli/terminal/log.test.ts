import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutSecrets } from './log.ts';

test('tokens and passwords in URLs are taken out of every line', () => {
  assert.equal(withoutSecrets('401 for chl_sa_abcDEF-_123456: refused'), '401 for [redacted]: refused');
  assert.equal(withoutSecrets('GET https://robot:hunter2@registry.test/v2/'), 'GET https://[redacted]@registry.test/v2/');
});

test('mail addresses and digests stay', () => {
  const text = 'app@sha256:00 by a@b.test at https://registry.test/v2/x';
  assert.equal(withoutSecrets(text), text);
});
