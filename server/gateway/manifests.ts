import { type Digest, digestOf, hexOf, isDigest } from '../../core/digest.ts';
import { isFileName } from '../../core/file-name.ts';
import { limits } from '../../core/limits.ts';
import { isTag } from '../../core/reference.ts';
import {
  artifactTypes,
  isForeign,
  type ManifestContent,
  mediaTypeOf,
  parseManifest,
  readManifest,
  tagPrefixes,
  titleAnnotation,
} from '../storage/manifest.ts';
import { DistributionError } from './errors.ts';
import { digestIn, type Exchange, receiveAll, send } from './exchange.ts';

/** HEAD and GET of a manifest ("Pulling manifests"). A job may ask whether a material is described already. */
export async function answerManifest(exchange: Exchange, reference: string): Promise<void> {
  if (exchange.caller.kind === 'job' && !reference.startsWith(tagPrefixes.material)) throw denied();
  const unknown = new DistributionError('MANIFEST_UNKNOWN', 'manifest unknown to registry', { detail: { reference } });
  if (!isTag(reference) && !isDigest(reference)) throw unknown;
  const manifest = await exchange.storage.getManifest(reference);
  if (manifest === undefined) throw unknown;
  const { digest, mediaType, bytes } = manifest;
  const headers = { 'docker-content-digest': digest, 'content-type': mediaType, etag: `"${digest}"` };
  send(exchange, 200, { ...headers, 'content-length': String(bytes.byteLength) }, bytes);
}

/** PUT of a manifest ("Pushing manifests"): checked, then stored as it is. */
export async function putManifest(exchange: Exchange, reference: string): Promise<void> {
  const { request, caller, organization } = exchange;
  assertMayWrite(reference);
  const bytes = await receiveAll(exchange, limits.manifestSizeBytes, 'the manifest');
  const digest = digestOf(bytes);
  if (isDigest(reference) && reference !== digest)
    throw new DistributionError('DIGEST_INVALID', `the manifest is ${digest}, not ${reference}`);
  const read = readManifest(bytes);
  if ('problem' in read) throw invalid(read.problem);
  const { content } = read;
  const mediaType = mediaTypeOf(content);
  const contentType = request.headers['content-type']?.split(';')[0]?.trim();
  if (contentType !== undefined && contentType !== mediaType) throw invalid(`it says ${mediaType}, and Content-Type says ${contentType}`);

  const material = materialOf(content);
  if (material === undefined && caller.kind === 'job') {
    throw new DistributionError('DENIED', `a job may only push manifests with artifactType ${artifactTypes.material}`);
  }
  if (reference.startsWith(tagPrefixes.material) && reference !== `${tagPrefixes.material}${material && hexOf(material.digest)}`) {
    throw invalid(`the tag ${tagPrefixes.material}<hex> must name the digest of the one layer of a material`);
  }
  if (caller.kind === 'job' && isTag(reference) && !reference.startsWith(tagPrefixes.material)) {
    throw new DistributionError('DENIED', `a job may only push the tag ${tagPrefixes.material}<sha256 hex of the file>`);
  }
  await assertComplete(exchange, content);

  if (material === undefined) await exchange.storage.putManifest(reference, mediaType, bytes);
  else await exchange.record(await store(exchange, reference, mediaType, bytes, material));
  send(exchange, 201, {
    location: `/v2/${organization.name}/manifests/${reference}`,
    'docker-content-digest': digest,
    ...(content.subject === undefined ? {} : { 'oci-subject': content.subject.digest }),
  });

  function assertMayWrite(target: string): void {
    if (target.includes(':')) digestIn(target);
    else if (!isTag(target)) throw invalid('the reference is neither a tag nor a digest');
    if (!target.startsWith(tagPrefixes.attestation)) return;
    throw new DistributionError('DENIED', `the tags ${tagPrefixes.attestation}… are written by the control plane only`);
  }
}

/**
 * A material's tag stays with the first manifest that it named: a later job with the same bytes under another file name, whether it pushes
 * the tag or the digest, cannot change what earlier attestations refer to, nor what the material is called. Its own manifest is kept by
 * digest. Answers what stands for the material.
 */
async function store({ storage }: Exchange, reference: string, mediaType: string, bytes: Buffer, material: Material): Promise<Standing> {
  const tag = `${tagPrefixes.material}${hexOf(material.digest)}`;
  const first = await storage.getManifest(tag);
  const digest = digestOf(bytes);
  const isThere = reference === tag && first?.digest === digest;
  if (!isThere) await storage.putManifest(reference === tag && first !== undefined ? digest : reference, mediaType, bytes);
  const content = first && parseManifest(first.bytes);
  return { ...((content && materialOf(content)) ?? material), manifestDigest: first?.digest ?? digest };
}

type Material = NonNullable<ReturnType<typeof materialOf>>;
type Standing = Material & { readonly manifestDigest: Digest };

/** The evidence that a material's manifest describes, or undefined: it is another manifest. MANIFEST_INVALID when it is a bad one. */
function materialOf({ artifactType, layers, subject }: ManifestContent) {
  if (artifactType !== artifactTypes.material) return undefined;
  const [layer, ...more] = layers ?? [];
  if (layer === undefined || more.length > 0 || subject !== undefined) throw invalid('a material has exactly one layer, and no subject');
  const fileName = layer.annotations?.[titleAnnotation];
  if (fileName === undefined || !isFileName(fileName)) {
    throw invalid(`the layer of a material needs the annotation ${titleAnnotation}, a file name without a folder`);
  }
  return { digest: layer.digest, sizeBytes: layer.size, fileName, mediaType: layer.mediaType };
}

/**
 * Everything that the manifest leads to is here, with that size: what an index names, and what that names in turn. A subject may come later
 * (distribution specification, "Pushing manifests with subject").
 */
async function assertComplete({ storage }: Exchange, root: ManifestContent): Promise<void> {
  const references = referencesOf(root);
  const missing: Digest[] = [];
  for (const { digest, size, isManifest } of references) {
    const manifest = isManifest ? await storage.getManifest(digest) : undefined;
    const sizeBytes = manifest?.bytes.byteLength ?? (await storage.stat(digest))?.sizeBytes;
    if (sizeBytes === undefined) missing.push(digest);
    else if (sizeBytes !== size) throw invalid(`${digest} has ${sizeBytes} bytes, and the manifest says ${size}`);
    const content = manifest && parseManifest(manifest.bytes);
    if (content !== undefined) references.push(...referencesOf(content));
    assertBounded(references);
  }
  if (missing.length === 0) return;
  const listed = missing.slice(0, limits.problems);
  throw new DistributionError('MANIFEST_BLOB_UNKNOWN', `upload what the manifest refers to first: ${listed.join(', ')}`, {
    detail: { digests: listed },
  });
}

function referencesOf({ config, layers = [], manifests = [] }: ManifestContent) {
  const blobs = [...(config === undefined ? [] : [config]), ...layers.filter((layer) => !isForeign(layer))];
  const named = ({ digest, size }: { readonly digest: Digest; readonly size: number }, isManifest: boolean) => ({
    digest,
    size,
    isManifest,
  });
  const references = [...blobs.map((blob) => named(blob, false)), ...manifests.map((manifest) => named(manifest, true))];
  assertBounded(references);
  return references;
}

function assertBounded(references: readonly unknown[]): void {
  if (references.length > limits.manifestEntries) throw invalid(`it refers to more than ${limits.manifestEntries} others`);
}

function denied(): DistributionError {
  return new DistributionError('DENIED', 'a job may only ask for its own materials: use an API token to read');
}

function invalid(reason: string): DistributionError {
  return new DistributionError('MANIFEST_INVALID', `the manifest is not acceptable: ${reason}`);
}
