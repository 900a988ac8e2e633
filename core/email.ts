import * as z from 'zod';

/**
 * An e-mail address that can be invited: visible ASCII alone, so that no letter of another alphabet passes for one of it. Kept in lower case,
 * of A to Z and nothing else: `K` (KELVIN SIGN) is no k, though JavaScript's toLowerCase says so.
 */
export const Email = z
  .string()
  .trim()
  .max(254)
  .regex(/^[\x21-\x3f\x41-\x7e]+@[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/i, 'must be an e-mail address, in ASCII')
  .transform((text) => text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase()));
