import { parseBundle } from '../bundle.ts';
import type { CraftedMaterial } from '../crafting.ts';
import type { Digest } from '../digest.ts';
import { ChainloopError, isChainloopError } from '../errors.ts';
import type { AttachedImage, BundleAttacher } from '../ports.ts';
import { materialsOf, parseStatement } from '../statement.ts';

/** What became of one image of the attestation. */
export type Attachment = {
  /** The material's name. */
  readonly material: string;
  /** `ghcr.io/acme/app@sha256:…` */
  readonly image: string;
} & (
  | { readonly referrer: Digest /** It was there before. */; readonly existed: boolean; readonly error?: undefined }
  | { readonly error: ChainloopError }
);

/**
 * Puts the bundle on every container image that its statement speaks of, one after the other; `crafted` says in which layout an image is.
 * What fails is in the answer: the attestation is recorded already, and nothing here changes that.
 */
export async function attachAll(
  attacher: BundleAttacher,
  bundle: string,
  crafted: readonly CraftedMaterial[],
): Promise<readonly Attachment[]> {
  const statement = parseStatement(parseBundle(bundle, { canonical: true }).payload);
  const bytes = Buffer.from(bundle);
  const { predicateType } = statement;
  const createdAt = statement.predicate.metadata.finishedAt;
  const attachments: Attachment[] = [];
  for (const { name, type, fileName = name, digest } of materialsOf(statement)) {
    if (type !== 'CONTAINER_IMAGE' || digest === undefined) continue;
    const layout = crafted.find((one) => one.name === name && one.digest === digest)?.layout;
    const about = { material: name, image: `${fileName}@${digest}` };
    try {
      assertPlace({ repository: fileName, digest, layout });
      const { digest: referrer, existed } = await attacher.attach(
        { repository: fileName, digest, layout },
        { bytes, predicateType, createdAt },
      );
      attachments.push({ ...about, referrer, existed });
    } catch (error) {
      if (!isChainloopError(error)) throw error;
      attachments.push({ ...about, error });
    }
  }
  return attachments;
}

/** The name of a layout is a folder's, without a registry before it. */
function assertPlace({ repository, layout }: AttachedImage): void {
  if (layout !== undefined || repository.includes('/')) return;
  throw new ChainloopError(
    'USAGE',
    `image ${repository}: another job, or an earlier step, added it from an OCI layout, whose folder is not known here; add and push it in one step`,
  );
}

/**
 * What was not attached, as one error with the code of the first: the caller has asked for it, and has to be told. Undefined when all is well.
 * `again` says how to try it again.
 */
export function attachError(attachments: readonly Attachment[], again: string): ChainloopError | undefined {
  const failed = attachments.flatMap(({ image, error }) => (error === undefined ? [] : [{ image, error }]));
  const [first] = failed;
  if (first === undefined) return undefined;
  return new ChainloopError(
    first.error.code,
    `the attestation is recorded, but it was not attached to ${failed.length} of ${attachments.length} images; ${again}`,
    { problems: failed.map(({ image, error }) => ({ message: `${image}: ${error.message}` })), cause: first.error },
  );
}
