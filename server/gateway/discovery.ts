import type { Digest } from '../../core/digest.ts';
import { limits } from '../../core/limits.ts';
import { mediaTypes } from '../storage/manifest.ts';
import type { Descriptor } from '../storage/storage.ts';
import { DistributionError } from './errors.ts';
import { digestIn, type Exchange, sendJson } from './exchange.ts';

/** GET of the tags, a page at a time ("Listing Tags"): `n`, `last`, and a Link to the next page. */
export async function listTags(exchange: Exchange): Promise<void> {
  const { query, storage, organization } = exchange;
  const n = countIn(query, limits.tagsPageSize);
  const last = query.get('last');
  // One more than asked for tells whether there is another page.
  const found = n === 0 ? [] : await storage.tags({ n: n + 1, ...(last === null ? {} : { last }) });
  const tags = found.slice(0, n);
  const more = found.length > n ? tags.at(-1) : undefined;
  const link = `</v2/${organization.name}/tags/list?n=${n}&last=${more}>; rel="next"`;
  sendJson(exchange, { name: organization.name, tags }, more === undefined ? {} : { link });
}

/**
 * GET of what refers to a manifest ("Listing Referrers"): an image index, empty when there is nothing, a page at a time, with a Link to the
 * next. A page is no larger than a manifest may be.
 */
export async function listReferrers(exchange: Exchange, digestText: string): Promise<void> {
  const { query, storage, organization } = exchange;
  const subject = digestIn(digestText);
  const artifactType = query.get('artifactType') || undefined;
  const last = query.get('last');
  const n = Math.max(1, countIn(query, limits.referrersPageSize));
  const manifests: Descriptor[] = [];
  let sizeBytes = 0;
  let more: Digest | undefined;
  for await (const descriptor of storage.referrers(subject, last === null ? undefined : digestIn(last))) {
    if (artifactType !== undefined && descriptor.artifactType !== artifactType) continue;
    sizeBytes += Buffer.byteLength(JSON.stringify(descriptor));
    if (manifests.length === n || (manifests.length > 0 && sizeBytes > limits.manifestSizeBytes)) {
      more = manifests.at(-1)?.digest;
      break;
    }
    manifests.push(descriptor);
  }
  const next = new URLSearchParams({ n: String(n), ...(more && { last: more }), ...(artifactType && { artifactType }) });
  sendJson(
    exchange,
    { schemaVersion: 2, mediaType: mediaTypes.index, manifests },
    {
      'content-type': mediaTypes.index,
      ...(artifactType === undefined ? {} : { 'oci-filters-applied': 'artifactType' }),
      ...(more === undefined ? {} : { link: `</v2/${organization.name}/referrers/${subject}?${next}>; rel="next"` }),
    },
  );
}

/** How many entries the client wants, within the limit. */
function countIn(query: URLSearchParams, limit: number): number {
  const asked = query.get('n');
  if (asked !== null && !/^\d{1,9}$/.test(asked)) throw new DistributionError('SIZE_INVALID', 'n must be a whole number', { status: 400 });
  return Math.min(Number(asked ?? limit), limit);
}
