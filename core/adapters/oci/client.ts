import type { Digest } from '../../digest.ts';
import { ChainloopError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { isRepository } from '../../reference.ts';
import { addressKind, isLoopbackHost } from '../address.ts';
import { createHttp } from '../http.ts';
import { defaultRetryPolicy } from '../retry.ts';
import { type Credentials, createAuthorizer } from './auth.ts';
import { type Download, type DownloadOptions, fetchBlob } from './download.ts';
import { createFallbackTags, type Exclusive } from './fallback-tag.ts';
import { type Descriptor, deleteManifest, getManifest, headManifest, type Manifest, type ManifestHead, tags } from './manifests.ts';
import { putManifest, referrers } from './referrers.ts';
import { createSession, type FetchPolicy } from './session.ts';
import { type BlobSource, type Uploaded, type UploadOptions, uploadBlob } from './upload.ts';
import { createUploadSteps, type UploadSteps } from './upload-session.ts';

export type { Upload } from './upload-session.ts';

/**
 * One repository of an OCI registry (distribution specification v1.1). Repeats what is worth it, within the policy; callers do not.
 * What is read is verified against its digest; memory does not depend on sizes. May be used by many at once.
 *
 * Errors: REGISTRY_UNAUTHORIZED, REGISTRY_ERROR (another try would not help), REGISTRY_UNAVAILABLE, RATE_LIMITED, DISK_FULL,
 * DIGEST_MISMATCH.
 */
export type RegistryClient = {
  readonly origin: string;
  readonly repository: string;
  /** Resolves when the registry speaks the API and takes the credentials. */
  ping(): Promise<void>;
  headBlob(digest: Digest): Promise<{ readonly sizeBytes: number } | undefined>;
  uploadBlob(source: BlobSource, options?: UploadOptions): Promise<Uploaded>;
  /** The single steps of an upload, for who passes another party's steps on. */
  readonly upload: UploadSteps;
  /** NOT_FOUND when it is not there. */
  fetchBlob(digest: Digest, options?: DownloadOptions): Promise<Download>;
  headManifest(reference: string, accept?: readonly string[]): Promise<ManifestHead | undefined>;
  getManifest(reference: string, accept?: readonly string[]): Promise<Manifest | undefined>;
  /** Maintains the fallback tag of the subject where the registry does not keep referrers itself. */
  putManifest(reference: string, mediaType: string, bytes: Uint8Array): Promise<Digest>;
  /** False when there was none. */
  deleteManifest(reference: string): Promise<boolean>;
  referrers(subject: Digest): Promise<readonly Descriptor[]>;
  tags(page?: { readonly count?: number; readonly last?: string }): Promise<readonly string[]>;
  /** Ends idle connections. */
  close(): void;
};

export type RegistryClientOptions = {
  /** `https://host[:port]`; `http:` is the caller's decision. */
  readonly origin: string;
  readonly repository: string;
  readonly credentials?: Credentials | undefined;
  readonly userAgent?: string | undefined;
  /** What it is to the user, for messages. Default: registry. */
  readonly noun?: 'registry' | 'control plane' | undefined;
  readonly fetchPolicy?: Partial<FetchPolicy> | undefined;
  /** Asked about the resolved address of every connection; default: all but link-local ones (metadata services). */
  readonly allowAddress?: ((address: string) => boolean) | undefined;
  /** Other hosts that may be this registry's token server. */
  readonly tokenHosts?: readonly string[] | undefined;
  /** Keeps all writers of a fallback tag apart, of whatever process. Without it they find each other's writes by looking again. */
  readonly exclusive?: Exclusive | undefined;
  /** What to do about refused credentials, for messages. */
  readonly advice?: string | undefined;
};

const defaultFetchPolicy: FetchPolicy = {
  ...defaultRetryPolicy,
  requestTimeoutMs: limits.requestTimeoutMs,
  idleTimeoutMs: limits.idleTimeoutMs,
  commitTimeoutMs: limits.commitTimeoutMs,
};

/** Throws USAGE when origin or repository are malformed. Connects to nothing yet. */
export function createRegistryClient(options: RegistryClientOptions): RegistryClient {
  const origin = URL.parse(options.origin);
  if (origin === null || !/^https?:$/.test(origin.protocol) || origin.href !== `${origin.origin}/`)
    throw new ChainloopError('USAGE', 'registry: its origin must be https://host[:port], without path, user or query');
  const { repository } = options;
  const name = `${options.noun ?? 'registry'} ${origin.host}`;
  if (!isRepository(repository)) throw new ChainloopError('USAGE', `${name}: '${repository}' is not a repository name`);

  const allowAddress = options.allowAddress ?? ((address: string) => addressKind(address) !== 'linkLocal');
  const http = createHttp({ allowAddress });
  // A host that the registry names, not we: never this machine, unless the registry is on it.
  const local = isLoopbackHost(origin.hostname);
  const foreignHttp = createHttp({
    allowAddress: (address) => allowAddress(address) && (local || !['loopback', 'linkLocal', 'reserved'].includes(addressKind(address))),
  });
  const advice = options.advice ?? `check the credentials for ${origin.host}`;
  const authorizer = createAuthorizer({
    http,
    foreignHttp,
    origin,
    repository,
    credentials: options.credentials ?? { type: 'anonymous' },
    tokenHosts: options.tokenHosts ?? [],
    subject: { name, what: 'log in', advice },
  });
  const session = createSession({
    http,
    foreignHttp,
    origin,
    name,
    repository,
    authorizer,
    userAgent: options.userAgent ?? 'chainloop',
    advice,
    policy: { ...defaultFetchPolicy, ...options.fetchPolicy },
  });
  const steps = createUploadSteps(session);
  const fallback = createFallbackTags(session, options.exclusive);

  async function headBlob(digest: Digest): Promise<{ readonly sizeBytes: number } | undefined> {
    const url = session.url(`blobs/${digest}`);
    const answer = await session.send({ method: 'HEAD', url, access: 'push', what: `look-up of ${digest}`, accept: [200, 404] });
    answer.discard();
    return answer.status === 404 ? undefined : { sizeBytes: Number(answer.header('content-length') ?? 0) };
  }

  return {
    origin: origin.origin,
    repository,
    async ping() {
      const url = new URL('/v2/', origin);
      const answer = await session.send({ method: 'GET', url, access: 'pull', what: 'a first request', accept: [200] });
      answer.discard();
    },
    headBlob,
    uploadBlob: (source, upload) => uploadBlob(session, steps, headBlob, source, upload),
    upload: steps,
    fetchBlob: (digest, download) => fetchBlob(session, digest, download),
    headManifest: (reference, accept) => headManifest(session, reference, accept),
    getManifest: (reference, accept) => getManifest(session, reference, accept),
    putManifest: (reference, mediaType, bytes) => putManifest(session, fallback, reference, mediaType, bytes),
    deleteManifest: (reference) => deleteManifest(session, reference),
    referrers: (subject) => referrers(session, fallback, subject),
    tags: (page) => tags(session, page),
    close() {
      http.close();
      foreignHttp.close();
    },
  };
}
