import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutCredentials } from './fork.ts';

const own = { id: 1 };
const event = (head: unknown, change: { readonly eventName?: string; readonly actor?: string } = {}) => ({
  ...{ eventName: 'pull_request', actor: 'alice', ...change },
  payload: { repository: own, pull_request: { head: { repo: head }, base: { repo: own } } },
});
const noToken = {};
const token = { ACTIONS_ID_TOKEN_REQUEST_URL: 'https://x' };

test('a pull request from another repository, also one that is gone, has no credentials', () => {
  assert.match(withoutCredentials(event({ id: 2 }), noToken) ?? '', /fork/);
  assert.match(withoutCredentials(event(null), noToken) ?? '', /fork/);
});

test('names do not count: a fork that is called as the repository is one too', () => {
  assert.match(withoutCredentials(event({ id: 2, full_name: 'acme/app' }), noToken) ?? '', /fork/);
});

test('a pull request of the repository itself is none; one of Dependabot is treated as one', () => {
  assert.equal(withoutCredentials(event(own), noToken), undefined);
  assert.match(withoutCredentials(event(own, { actor: 'dependabot[bot]' }), noToken) ?? '', /Dependabot/);
});

test('whoever has a token is not skipped, whatever the event', () => {
  assert.equal(withoutCredentials(event({ id: 2 }), token), undefined);
});

test('other events are never taken for one, whatever their payload says', () => {
  assert.equal(withoutCredentials(event({ id: 2 }, { eventName: 'push' }), noToken), undefined);
  assert.equal(withoutCredentials({ eventName: 'push', actor: 'dependabot[bot]', payload: undefined }, noToken), undefined);
});
