import * as z from 'zod';
import { Name } from './names.ts';

/** Whoever kept evidence there is gone for good. */
const takeOver = z.boolean().default(false);

const RegistryInput = z.strictObject({
  provider: z.literal('oci').default('oci'),
  name: Name,
  /** `host[:port]/repository`; `insecure` is plain http, to private addresses alone. */
  repo: z.string().max(512),
  username: z.string().max(256).optional(),
  password: z.string().max(16_384).optional(),
  insecure: z.boolean().default(false),
  default: z.boolean().default(true),
  takeOver,
});

/** Visible ASCII: it becomes a header. */
const HeaderText = z.string().regex(/^[\x21-\x7e]{1,16384}$/, 'must be visible ASCII characters');
const accessKey = {
  accessKeyId: HeaderText.max(256),
  secretAccessKey: z.string().min(1).max(1024),
  sessionToken: HeaderText.optional(),
};
const BucketInput = z.strictObject({
  provider: z.literal('s3'),
  name: Name,
  /** Amazon S3 user guide, "General purpose bucket naming rules". */
  bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'must be the name of a bucket'),
  prefix: z
    .string()
    .max(256)
    .regex(/^[\w-][\w.-]*(\/[\w-][\w.-]*)*$/, 'must be a path such as team/evidence')
    .optional(),
  region: z.string().regex(/^[a-z0-9-]{1,40}$/, 'must be a region such as eu-central-1'),
  /** Default: Amazon's of the region. Plain http is for private addresses alone. */
  endpoint: z
    .string()
    .regex(/^https?:\/\/[a-z0-9.:[\]-]{1,255}$/i, 'must be https://host[:port]')
    .refine((text) => URL.canParse(text), 'must be https://host[:port]')
    .transform((text) => new URL(text).origin)
    .optional(),
  /** The bucket is a part of the host's name. Default: with Amazon's endpoint. */
  virtualHost: z.boolean().optional(),
  ...accessKey,
  default: z.boolean().default(true),
  takeOver,
});

/** A new CAS backend: a repository of a registry, or a bucket. */
export const CasBackend = z.union([RegistryInput, BucketInput]);

/** Other credentials of one. */
export const CasBackendLogin = z.union([
  z.strictObject({ name: Name, username: z.string().max(256), password: z.string().max(16_384) }),
  z.strictObject({ name: Name, ...accessKey }),
]);
