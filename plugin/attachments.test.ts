import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Attachment } from '../core/attestation.ts';
import { digestOf } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import { releaseCrafting } from '../test/fakes/crafting.ts';
import { attachmentLines, attachmentRows } from './attachments.ts';
import { finished, nothingFound } from './outcome.ts';
import { summaryOf } from './summary.ts';

const image = `ghcr.io/acme/app@${digestOf('image')}`;
const there: Attachment = { material: 'image', image, referrer: digestOf('referrer'), existed: false };
const refused: Attachment = {
  material: 'other',
  image: 'quay.io/acme/app@sha256:x',
  error: new ChainloopError('REGISTRY_UNAUTHORIZED', 'registry quay.io: log in'),
};

test('a step whose bundle could not be put on an image has passed, and has an error that says how to attach it later', () => {
  const found = { ...nothingFound(), crafting: releaseCrafting, bundlePath: 'b.json', attachments: [there, refused] };
  const outcome = finished('attest', 'passed', found);
  assert.deepEqual([outcome.status, outcome.error?.code], ['passed', 'REGISTRY_UNAUTHORIZED']);
  assert.match(outcome.error?.message ?? '', /is recorded, but not attached to 1 of its 2 images; .*attestation attach --bundle b\.json/);
  assert.deepEqual(outcome.error?.problems, [{ message: `${refused.image}: registry quay.io: log in` }]);
  const summary = summaryOf(outcome, undefined, { bundleLasts: false });
  assert.match(summary, /passed\n/);
  assert.match(summary, /- attached to <code>ghcr\.io\/acme\/app&#64;sha256/);
  assert.match(summary, /- ⚠️ not attached to <code>quay\.io/);
});

test('a step without images to attach to has no error', () => {
  assert.equal(finished('attest', 'passed', nothingFound()).error, undefined);
  assert.equal(finished('push', 'passed', { ...nothingFound(), attachments: [there] }).error, undefined);
});

test('scripts are told of every image, people of those that have it', () => {
  assert.deepEqual(attachmentRows([there, refused]), [
    { name: 'image', image, referrer: digestOf('referrer'), error: null },
    { name: 'other', image: refused.image, referrer: null, error: { code: 'REGISTRY_UNAUTHORIZED', message: 'registry quay.io: log in' } },
  ]);
  assert.deepEqual(attachmentLines([there, { ...there, existed: true }, refused]), [
    `Attached to ${image}`,
    `Was attached before to ${image}`,
  ]);
});
