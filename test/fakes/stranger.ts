import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What a stranger finds on an image: as the specifications say, with none of our code, in a process of its own. */
export type Found = {
  readonly by: 'api' | 'tag';
  readonly referrer: { readonly digest: string; readonly artifactType: string; readonly annotations: Readonly<Record<string, string>> };
  readonly manifest: { readonly subject: { readonly digest: string }; readonly layers: readonly { readonly digest: string }[] };
  readonly bundle: string;
  /** @sigstore/verify took the bundle. */
  readonly verified: boolean;
};

// Distribution specification, "Listing Referrers" and "Referrers Tag Schema"; sigstore/cosign, specs/BUNDLE_SPEC.md, "Retrieval".
const program = `
import { createHash, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { bundleFromJSON } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
const [base, image, authorization, pem] = process.argv.slice(1);
const type = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const get = async (path, accept) => {
  const answer = await fetch(base + path, { headers: { accept, ...(authorization && { authorization }) } });
  return { status: answer.status, bytes: Buffer.from(await answer.arrayBuffer()) };
};
const index = 'application/vnd.oci.image.index.v1+json';
let by = 'api';
let listed = await get('/referrers/' + image + '?artifactType=' + encodeURIComponent(type), index);
if (listed.status === 404) {
  by = 'tag';
  listed = await get('/manifests/' + image.replace(':', '-'), index);
}
if (listed.status !== 200) throw new Error('no referrers: ' + listed.status);
const found = [];
for (const referrer of JSON.parse(listed.bytes).manifests.filter(({ artifactType }) => artifactType === type)) {
  const { bytes } = await get('/manifests/' + referrer.digest, referrer.mediaType);
  const digestOf = (data) => 'sha256:' + createHash('sha256').update(data).digest('hex');
  if (digestOf(bytes) !== referrer.digest || bytes.length !== referrer.size) throw new Error('another manifest');
  const manifest = JSON.parse(bytes);
  const blob = await get('/blobs/' + manifest.layers[0].digest, '*/*');
  if (digestOf(blob.bytes) !== manifest.layers[0].digest) throw new Error('another bundle');
  const publicKey = createPublicKey(readFileSync(pem));
  const root = TrustedRoot.fromJSON({ mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1' });
  const material = toTrustMaterial(root, () => ({ publicKey, validFor: () => true }));
  new Verifier(material, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 })
    .verify(toSignedEntity(bundleFromJSON(JSON.parse(blob.bytes))));
  found.push({ by, referrer, manifest, bundle: blob.bytes.toString(), verified: true });
}
console.log(JSON.stringify(found));
`;

/** Every Sigstore bundle on an image. `base` is `http://host/v2/<repository>`. Rejects when one of them is not what it should be. */
export async function strangerFinds(
  base: string,
  image: string,
  options: { readonly authorization?: string; readonly publicKeyPath: string },
): Promise<readonly Found[]> {
  const args = ['--input-type=module', '-e', program, base, image, options.authorization ?? '', options.publicKeyPath];
  const { stdout } = await run(process.execPath, args, { cwd: import.meta.dirname });
  return JSON.parse(stdout);
}
