import assert from 'node:assert/strict';
import * as z from 'zod';
import { type Digest, digestOf } from '../../core/digest.ts';
import { conforms, type Endpoint, imageManifest } from '../../test/fakes/conformance.ts';
import { mediaTypes } from '../storage/manifest.ts';

// OCI distribution specification 1.1, "Content Discovery".

const Tags = z.object({ name: z.string(), tags: z.array(z.string()) });
const Index = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.literal(mediaTypes.index),
  manifests: z.array(
    z.object({
      mediaType: z.string(),
      digest: z.string(),
      size: z.int(),
      artifactType: z.string().optional(),
      annotations: z.record(z.string(), z.string()).optional(),
    }),
  ),
});

conforms('Listing Tags: all of them in order; n and last cut, and Link leads to the next', async ({ ask, blob, manifest }) => {
  const list = async (path: string): Promise<readonly [readonly string[], string | undefined]> => {
    const { status, headers, body } = await ask('GET', path);
    assert.deepEqual([status, headers['content-type']], [200, 'application/json']);
    const { name, tags } = Tags.parse(JSON.parse(body.toString()));
    assert.equal(name, 'acme');
    return [tags, /^<(\/[^>]+)>; rel="next"$/.exec(String(headers.link))?.[1]];
  };
  assert.deepEqual(await list('tags/list'), [[], undefined]);
  await blob('{}');
  const tags = ['1.0', '_x', 'latest', 'v1', 'v10', 'v2'];
  for (const tag of tags.toReversed()) await manifest(imageManifest(), { tag });
  assert.deepEqual(await list('tags/list'), [tags, undefined]);
  assert.deepEqual(await list('tags/list?n=0'), [[], undefined]);
  assert.deepEqual(await list('tags/list?n=6'), [tags, undefined]);
  assert.deepEqual(await list('tags/list?last=latest'), [tags.slice(3), undefined]);
  assert.deepEqual(await list('tags/list?last=m'), [tags.slice(3), undefined]);
  assert.deepEqual(await list('tags/list?last=v2'), [[], undefined]);
  const pages: (readonly string[])[] = [];
  for (let path: string | undefined = 'tags/list?n=4'; path !== undefined; ) {
    const [page, next] = await list(path);
    pages.push(page);
    path = next;
  }
  assert.deepEqual(pages, [tags.slice(0, 4), tags.slice(4)]);
  for (const n of ['-1', 'x', '1e3']) assert.equal((await ask('GET', `tags/list?n=${n}`)).status, 400, n);
});

/** A subject with referrers of two types, and what the API must say of them. */
async function refer(
  { blob, manifest }: Endpoint,
  count: number,
): Promise<{ readonly subject: Digest; readonly expected: z.infer<typeof Index>['manifests'] }> {
  await blob('{}');
  const text = JSON.stringify(imageManifest());
  const { digest: subject } = await manifest(imageManifest());
  const expected: z.infer<typeof Index>['manifests'] = [];
  for (let index = 0; index < count; index++) {
    const artifactType = `application/x-${index % 2}`;
    const annotations = { number: String(index) };
    const content = imageManifest({
      artifactType,
      annotations,
      subject: { mediaType: mediaTypes.manifest, digest: subject, size: text.length },
    });
    const { digest } = await manifest(content);
    expected.push({ mediaType: mediaTypes.manifest, digest, size: JSON.stringify(content).length, artifactType, annotations });
  }
  return { subject, expected: expected.toSorted((one, other) => (one.digest < other.digest ? -1 : 1)) };
}

async function referrersOf(
  { ask }: Endpoint,
  path: string,
): Promise<{ manifests: z.infer<typeof Index>['manifests']; filters: unknown; next: string | undefined }> {
  const { status, headers, body } = await ask('GET', path);
  assert.deepEqual([status, headers['content-type']], [200, mediaTypes.index]);
  const { manifests } = Index.parse(JSON.parse(body.toString()));
  return { manifests, filters: headers['oci-filters-applied'], next: /^<(\/[^>]+)>; rel="next"$/.exec(String(headers.link))?.[1] };
}

conforms('Listing Referrers: descriptors with type and annotations, and an empty index where there are none', async (endpoint) => {
  const { subject, expected } = await refer(endpoint, 3);
  assert.deepEqual(await referrersOf(endpoint, `referrers/${subject}`), { manifests: expected, filters: undefined, next: undefined });
  const none = { manifests: [], filters: undefined, next: undefined };
  assert.deepEqual(await referrersOf(endpoint, `referrers/${digestOf('absent')}`), none);
  for (const digest of ['sha256:abc', 'latest', `sha512:${'a'.repeat(128)}`]) {
    const { status, code } = await endpoint.ask('GET', `referrers/${digest}`);
    assert.deepEqual([status, code], [400, 'DIGEST_INVALID']);
  }
});

conforms('Listing Referrers: a filter by artifactType is applied, and said to be', async (endpoint) => {
  const { subject, expected } = await refer(endpoint, 4);
  for (const [type, left] of [
    ['application/x-1', 2],
    ['application/x-0', 2],
    ['application/x-none', 0],
  ] as const) {
    const found = await referrersOf(endpoint, `referrers/${subject}?artifactType=${encodeURIComponent(type)}`);
    const matching = expected.filter((one) => one.artifactType === type);
    assert.deepEqual([found.manifests, found.filters, found.manifests.length], [matching, 'artifactType', left]);
  }
});

conforms('Listing Referrers: what one answer cannot hold comes by Link, with the filter', async (endpoint) => {
  const { subject, expected } = await refer(endpoint, 7);
  for (const [query, all] of [
    ['n=3', expected],
    ['n=2&artifactType=application/x-0', expected.filter((one) => one.artifactType === 'application/x-0')],
  ] as const) {
    const found: object[] = [];
    let pages = 0;
    for (let path: string | undefined = `referrers/${subject}?${query}`; path !== undefined; pages++) {
      const { manifests, next, filters } = await referrersOf(endpoint, path);
      assert.equal(filters, query.includes('artifactType') ? 'artifactType' : undefined);
      found.push(...manifests);
      path = next;
    }
    assert.deepEqual([found, pages], [all, Math.ceil(all.length / Number(query.charAt(2)))]);
  }
});

// A registry without the API keeps them in one index, which is no larger either.
conforms(
  'Listing Referrers: a page is no larger than a manifest may be, whatever annotations say',
  async (endpoint) => {
    await endpoint.blob('{}');
    const subject = { mediaType: mediaTypes.manifest, digest: digestOf('subject'), size: 7 };
    const pushed: string[] = [];
    for (const letter of ['a', 'b', 'c']) {
      const { status, digest } = await endpoint.manifest(imageManifest({ subject, annotations: { letter: letter.repeat(3_000_000) } }));
      assert.equal(status, 201);
      pushed.push(digest);
    }
    const found: unknown[] = [];
    for (let path: string | undefined = `referrers/${subject.digest}`; path !== undefined; ) {
      const { manifests, next } = await referrersOf(endpoint, path);
      assert.equal(manifests.length, 1);
      found.push(...manifests.map((one) => one.digest));
      path = next;
    }
    assert.deepEqual(found, pushed.toSorted());
  },
  ['layout on disk', 's3'],
);

conforms('Listing Referrers: without an artifact type it is that of the configuration; an index has none', async (endpoint) => {
  const { blob, manifest } = endpoint;
  await blob('{}');
  const subject = { mediaType: mediaTypes.manifest, digest: digestOf('subject'), size: 7 };
  const config = { mediaType: 'application/x-config', digest: digestOf('{}'), size: 2 };
  const image = await manifest(imageManifest({ subject, config, artifactType: '' }));
  const index = await manifest({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [], subject }, { type: mediaTypes.index });
  const { manifests } = await referrersOf(endpoint, `referrers/${subject.digest}`);
  const typeOf = (digest: Digest): string | undefined => manifests.find((one) => one.digest === digest)?.artifactType;
  assert.deepEqual([manifests.length, typeOf(image.digest), typeOf(index.digest)], [2, 'application/x-config', undefined]);
});
