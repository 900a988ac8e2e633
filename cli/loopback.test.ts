import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call } from '../test/fakes/http-call.ts';
import { awaitBrowser } from './loopback.ts';

const state = 'a-state-that-nobody-guesses';

test('a foreign page that sends a code is refused, and the login goes on', async () => {
  await using loopback = await awaitBrowser(state);
  const origin = `http://127.0.0.1:${loopback.port}`;
  const get = async (path: string, init: RequestInit = {}): Promise<number> => (await fetch(origin + path, init)).status;
  assert.equal(await get('/callback?code=evil'), 400);
  assert.equal(await get('/callback?code=evil&state='), 400);
  assert.equal(await get('/callback?code=evil&state=a-guess'), 400);
  assert.equal(await get('/callback?error=access_denied&state=a-guess'), 400);
  assert.equal(await get(`/callback?code=evil&state=${state}`, { method: 'POST' }), 400);
  assert.equal(await get(`/?code=evil&state=${state}`), 400);
  // By another name of this machine: DNS rebinding.
  const rebound = await call(origin, 'GET', `/callback?code=evil&state=${state}`, { headers: { host: 'evil.example' } });
  assert.equal(rebound.status, 400);
  assert.equal(await get(`/callback?code=mine&state=${state}`), 200);
  assert.equal(await loopback.code, 'mine');
  assert.equal(await get(`/callback?code=evil&state=${state}`), 200);
  assert.equal(await loopback.code, 'mine');
});

test('a provider that refuses ends the login, with its reason', async () => {
  await using loopback = await awaitBrowser(state);
  await fetch(`http://127.0.0.1:${loopback.port}/callback?error=access_denied&state=${state}`);
  await assert.rejects(loopback.code, { code: 'UNAUTHENTICATED', message: /access_denied/ });
});
