import { parseBundle } from '../bundle.ts';
import { ChainloopError, isChainloopError } from '../errors.ts';
import type { AttachedImage, BundleAttacher } from '../ports.ts';
import { materialsOf, parseStatement } from '../statement.ts';
import type { Attachment } from './attachment.ts';

/** A container image of an attestation, and the name of its material. */
export type ImageOfBundle = AttachedImage & { readonly material: string };

/** The container images that the statement of a bundle speaks of. BUNDLE_INVALID, STATEMENT_INVALID. */
export function imagesOfBundle(bundle: string): readonly ImageOfBundle[] {
  return materialsOf(statementOf(bundle)).flatMap(({ name, type, fileName = name, digest }) =>
    type !== 'CONTAINER_IMAGE' || digest === undefined ? [] : [{ material: name, repository: fileName, digest }],
  );
}

/** Puts the bundle on the images, one after the other. What fails is in the answer: the attestation is recorded already. */
export async function attach(attacher: BundleAttacher, bundle: string, images: readonly ImageOfBundle[]): Promise<readonly Attachment[]> {
  const { predicateType, predicate } = statementOf(bundle);
  const content = { bytes: Buffer.from(bundle), predicateType, createdAt: predicate.metadata.finishedAt };
  const attachments: Attachment[] = [];
  for (const { material, ...image } of images) {
    const about = { material, image: `${image.repository}@${image.digest}` };
    try {
      assertPlace(image);
      const { digest: referrer, existed } = await attacher.attach(image, content);
      attachments.push({ ...about, referrer, existed });
    } catch (error) {
      if (!isChainloopError(error)) throw error;
      attachments.push({ ...about, error });
    }
  }
  return attachments;
}

function statementOf(bundle: string) {
  return parseStatement(parseBundle(bundle, { canonical: true }).payload);
}

/** A layout is called as its folder is, without a registry before it. */
function assertPlace({ repository, layout }: AttachedImage): void {
  if (layout !== undefined || repository.includes('/')) return;
  throw new ChainloopError(
    'USAGE',
    `it was added from an OCI layout, by another job or step, and its folder is not known here; give it: chainloop attestation attach --bundle FILE oci:DIR`,
  );
}
