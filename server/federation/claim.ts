import * as z from 'zod';

/** A claim that is text: short, and without what could break a line or a table. */
export const Text = z
  .string()
  .min(1)
  .max(1024)
  .regex(/^[^\p{Cc}\p{Zl}\p{Zp}]+$/u, 'has control characters');

/** An id: digits. GitHub and GitLab send them as text; a number is as good, as long as it is exact. */
export const NumericId = z.union([z.string().regex(/^[0-9]{1,20}$/, 'must be digits'), z.int().min(1).transform(String)]);

/** A git ref in full. */
export const Ref = Text.regex(/^refs\/./, 'must be a full ref');

/** A commit: SHA-1 or SHA-256. */
export const Commit = z.string().regex(/^[0-9a-f]{40}([0-9a-f]{24})?$/, 'must be a commit');

/**
 * A URI below a server. Escaped without losing anything: two refs never become the same URI, and what is not ASCII can stand in a
 * certificate (RFC 5280, section 4.2.1.6: IA5String).
 */
export function uri(server: string, path: string): string {
  return `${server}/${path.toWellFormed().replace(/[^A-Za-z0-9\-._~:/@!$&'()*+,;=]/gu, encodeURIComponent)}`;
}

/**
 * The path of a file in `<prefix><path>@<ref>`, whole, or undefined when it is elsewhere. Both the path and the ref may have an `@`: the
 * ref of the token tells where the one ends. Where the reference has another ref, that begins after the last `@`, and must be a full ref or
 * a commit; a path that then has an `@` too is compared as it is, so that nothing passes for `release.yml` but `release.yml`.
 */
export function pathAfter(prefix: string, reference: string, ref: string): string | undefined {
  if (!reference.startsWith(prefix)) return undefined;
  const rest = reference.slice(prefix.length);
  const end = rest.endsWith(`@${ref}`) ? rest.length - ref.length - 1 : rest.lastIndexOf('@');
  const isReference = /^(refs\/.+|[0-9a-f]{40}|[0-9a-f]{64})$/.test(rest.slice(end + 1));
  return end > 0 && isReference ? rest.slice(0, end) : undefined;
}
