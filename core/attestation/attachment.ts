import type { Digest } from '../digest.ts';
import { ChainloopError } from '../errors.ts';

/** What became of one image that the bundle was to be put on. */
export type Attachment = {
  readonly material: string;
  /** `ghcr.io/acme/app@sha256:…` */
  readonly image: string;
} & (
  | { readonly referrer: Digest /** It was there before. */; readonly existed: boolean; readonly error?: undefined }
  | { readonly error: ChainloopError }
);

/**
 * What was not attached, as one error with the code of the first: the caller has asked for it, and has to be told. Undefined when all is well.
 * `advice` says how to try it again.
 */
export function attachError(attachments: readonly Attachment[], advice: string): ChainloopError | undefined {
  const failed = attachments.flatMap(({ image, error }) => (error === undefined ? [] : [{ image, error }]));
  const [first] = failed;
  if (first === undefined) return undefined;
  return new ChainloopError(
    first.error.code,
    `the attestation is recorded, but not attached to ${failed.length} of its ${attachments.length} images; ${advice}`,
    { problems: failed.map(({ image, error }) => ({ message: `${image}: ${error.message}` })), cause: first.error },
  );
}
