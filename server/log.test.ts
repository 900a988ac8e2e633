import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog, withoutSecrets } from './log.ts';
import { makeToken, tokenLetters } from './tokens.ts';

test('no planted secret reaches the log, whatever field or message it is in', () => {
  const lines: string[] = [];
  const log = createLog('trace', { write: (line: string) => lines.push(line) });
  const { token } = makeToken('owner');
  const part = (text: string): string => Buffer.from(text).toString('base64url');
  const jwt = [part('{"alg":"RS256","typ":"JWT"}'), part('{"iss":"https://ci.example"}'), part('a signature of an issuer')];
  const credential = makeToken('run').token;
  log.info(`exchange of ${jwt.join('.')}\n${jwt.join('.')} gave ${credential}`);
  const canaries = [...jwt, credential, token, 'CANARY-basic', 'CANARY-url', 'CANARYsigned', 'CANARY-key', 'CANARY-password'];
  log.info({ headers: { authorization: `Bearer ${token}` }, note: `with ${token}` }, `token ${token}`);
  log.warn({ error: new Error(`Basic CANARY-basic from https://user:CANARY-url@registry.test/x?X-Amz-Signature=CANARYsigned&b=1`) });
  log.error({ nested: { password: 'CANARY-password' } }, '-----BEGIN PRIVATE KEY-----\nCANARY-key\n-----END PRIVATE KEY-----');
  const text = lines.join('');
  for (const canary of canaries) assert.ok(!text.includes(canary), canary);
  assert.match(text, /registry\.test/);
  for (const line of lines) JSON.parse(line);
});

test('tokens of every kind are taken out, and those of CI systems', () => {
  for (const letter of [...Object.values(tokenLetters), 'g']) {
    const token = makeToken('run').token.replace('chl_r_', `chl_${letter}_`);
    assert.equal(withoutSecrets(`{"msg":"with ${token}, and more"}`), '{"msg":"with [token], and more"}');
  }
  assert.equal(withoutSecrets('subjectToken eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln is refused'), 'subjectToken [token] is refused');
});
