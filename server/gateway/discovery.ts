import { limits } from '../../core/limits.ts';
import { mediaTypes } from '../storage/manifest.ts';
import { DistributionError } from './errors.ts';
import { digestIn, type Exchange, sendJson } from './exchange.ts';

/** GET of the tags, a page at a time ("Listing Tags"): `n`, `last`, and a Link to the next page. */
export async function listTags(exchange: Exchange): Promise<void> {
  const { query, storage, organization } = exchange;
  const asked = query.get('n');
  if (asked !== null && !/^\d{1,9}$/.test(asked)) throw new DistributionError('SIZE_INVALID', 'n must be a whole number', { status: 400 });
  const n = Math.min(Number(asked ?? limits.tagsPageSize), limits.tagsPageSize);
  const last = query.get('last');
  // One more than asked for tells whether there is another page.
  const found = n === 0 ? [] : await storage.tags({ n: n + 1, ...(last === null ? {} : { last }) });
  const tags = found.slice(0, n);
  const more = found.length > n ? tags.at(-1) : undefined;
  const link = `</v2/${organization.name}/tags/list?n=${n}&last=${more}>; rel="next"`;
  sendJson(exchange, { name: organization.name, tags }, more === undefined ? {} : { link });
}

/** GET of what refers to a manifest ("Listing Referrers"): an image index, empty when there is nothing. */
export async function listReferrers(exchange: Exchange, digestText: string): Promise<void> {
  const artifactType = exchange.query.get('artifactType');
  const all = await exchange.storage.referrers(digestIn(digestText));
  const manifests = artifactType === null ? all : all.filter((descriptor) => descriptor.artifactType === artifactType);
  sendJson(
    exchange,
    { schemaVersion: 2, mediaType: mediaTypes.index, manifests },
    { 'content-type': mediaTypes.index, ...(artifactType === null ? {} : { 'oci-filters-applied': 'artifactType' }) },
  );
}
