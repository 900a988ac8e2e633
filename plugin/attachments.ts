import type { Attachment } from '../core/attestation.ts';

/** What scripts are told of an image that the bundle was to be put on. */
export type AttachmentRow = {
  readonly name: string;
  /** `ghcr.io/acme/app@sha256:…` */
  readonly image: string;
  /** The digest of the manifest that refers to the image; null when it could not be attached. */
  readonly referrer: string | null;
  /** Why it could not be attached. */
  readonly error: { readonly code: string; readonly message: string } | null;
};

export function attachmentRows(attachments: readonly Attachment[]): readonly AttachmentRow[] {
  return attachments.map(({ material: name, image, ...became }) =>
    became.error === undefined
      ? { name, image, referrer: became.referrer, error: null }
      : { name, image, referrer: null, error: { code: became.error.code, message: became.error.message } },
  );
}

/** `Attached to ghcr.io/acme/app@sha256:…`, one line for each image that has it now. */
export function attachmentLines(attachments: readonly Attachment[]): readonly string[] {
  return attachments.flatMap(({ image, ...became }) => {
    if (became.error !== undefined) return [];
    return [`${became.existed ? 'Was attached before to' : 'Attached to'} ${image}`];
  });
}
