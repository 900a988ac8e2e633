import { join } from 'node:path';
import { ChainloopError, isChainloopError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { readLimited } from '../files.ts';
import { makeStateDirectory } from '../state-directory.ts';
import type { SigstoreInstance } from './signer.ts';

/** A private Sigstore, by two files. FILE_NOT_FOUND, FILE_UNREADABLE, LIMIT_EXCEEDED. */
export async function readInstance(paths: { readonly trustedRoot: string; readonly signingConfig: string }): Promise<SigstoreInstance> {
  const read = async (path: string, sizeBytes: number) => Buffer.from(await readLimited(path, sizeBytes)).toString('utf8');
  const [trustRoot, signingConfig] = await Promise.all([
    read(paths.trustedRoot, limits.trustRootSizeBytes),
    read(paths.signingConfig, limits.signingConfigSizeBytes),
  ]);
  return { trustRoot, signingConfig };
}

/** Another TUF repository than that of public Sigstore: its address, a file with the root that is believed at first, how often each request is tried again. */
export type TufRepository = { readonly mirrorUrl: string; readonly rootPath: string; readonly retries: number };

/**
 * Public Sigstore, as its TUF repository says now (The Update Framework, section 5, by @sigstore/tuf, which brings the first root along). What was fetched is kept
 * in `folder`; while the repository does not answer, that is used for as long as it says. SIGNING_UNAVAILABLE; TRUST_ROOT_INVALID for metadata that is
 * expired, older than what was seen before, or not signed by whom the last root names.
 */
export async function publicInstance(folder: string, repository?: TufRepository): Promise<SigstoreInstance> {
  const cachePath = join(folder, 'sigstore-tuf');
  await makeStateDirectory(cachePath);
  try {
    return await load(cachePath, repository, false);
  } catch (error) {
    if (!isChainloopError(error, 'SIGNING_UNAVAILABLE')) throw error;
    return load(cachePath, repository, true).catch(() => Promise.reject(error));
  }
}

async function load(cachePath: string, repository: TufRepository | undefined, forceCache: boolean): Promise<SigstoreInstance> {
  const { initTUF } = await import('@sigstore/tuf');
  const place =
    repository === undefined
      ? {}
      : { mirrorURL: repository.mirrorUrl, rootPath: repository.rootPath, retry: { retries: repository.retries } };
  try {
    const client = await initTUF({ cachePath, forceCache, ...place });
    return { trustRoot: await client.getTarget('trusted_root.json'), signingConfig: await client.getTarget('signing_config.v0.2.json') };
  } catch (cause) {
    const said = messagesOf(cause);
    if (network.test(said)) {
      throw new ChainloopError('SIGNING_UNAVAILABLE', 'Sigstore: its TUF repository cannot be reached; try again later', { cause });
    }
    throw new ChainloopError(
      'TRUST_ROOT_INVALID',
      `Sigstore: its TUF repository is refused: ${said.slice(0, 300)}; if it is of an attacker, so is the network; else its files are out of date`,
      { cause },
    );
  }
}

/** How fetch and tuf-js say that there was no answer; the latter keeps nothing of an error but its text. */
const network = /fetch failed|Failed to download|aborted|timeout|terminated|socket|ECONN|ENOTFOUND|EAI_AGAIN/i;

function messagesOf(error: unknown): string {
  return error instanceof Error
    ? [error.message, ...(error.cause === undefined ? [] : [messagesOf(error.cause)])].join(': ')
    : String(error);
}
