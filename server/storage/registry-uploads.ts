import { createHash, type Hash, randomUUID } from 'node:crypto';
import * as z from 'zod';
import type { RegistryClient, Upload as UpstreamUpload } from '../../core/adapters/oci/client.ts';
import { RegistryError } from '../../core/adapters/oci/errors.ts';
import { TokenRenewed } from '../../core/adapters/oci/session.ts';
import { type Digest, hexOf } from '../../core/digest.ts';
import { ChainloopError, isChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import type { Secrets } from '../secrets.ts';
import type { Storage, Upload } from './storage.ts';
import { createTurns, nothing, type Turns } from './turns.ts';

/** A last piece up to this size goes with the request that ends the upload: one request less for small evidence. */
const lastPieceSizeBytes = 2 * 1024 * 1024;

/**
 * What a session says: where the upload is in the registry. Sealed, because some registries take that address for a credential, and bound
 * to the organization; so any replica of the server can go on with it.
 */
const SealedUpload = z.tuple([z.string(), z.url(), z.int().min(0)]);

/** An upload that this process knows. `hash` saw the first `hashedBytes`; it vouches for the whole only when it saw all. */
type Session = {
  readonly id: string;
  readonly turns: Turns;
  readonly hash: Hash;
  hashedBytes: number;
  upstream: UpstreamUpload;
  /** The last request broke: the registry has to be asked where the upload stands. */
  uncertain: boolean;
  /** Bytes are under way. */
  sending: boolean;
  usedAtMs: number;
};

/**
 * Uploads through to a registry. The session is the address of the upload there, sealed for `context`; this process remembers only the hash
 * of what went through it.
 */
export function createRegistryUploads(options: {
  readonly client: RegistryClient;
  readonly secrets: Secrets;
  readonly context: string;
  readonly now: () => Date;
}): Pick<Storage, 'beginUpload' | 'uploadStatus' | 'append' | 'finish' | 'cancelUpload'> {
  const { client, secrets, context, now } = options;
  const sessions = new Map<string, Session>();
  /** The last ones that ended here: their sealed texts would open them again. */
  const ended = new Set<string>();

  function publicUpload({ id, upstream }: Session): Upload {
    // A sealed secret is text that a path can hold.
    return { session: secrets.seal(JSON.stringify([id, upstream.location.href, upstream.offset]), context), offset: upstream.offset };
  }

  /** The session in a sealed text; from the text alone when another process, or an earlier one, opened it. */
  function find(sealed: string): Session {
    const [id, location, offset] = unseal(sealed);
    if (ended.has(id)) throw unknownUpload();
    let session = sessions.get(id);
    if (session === undefined) {
      session = newSession(id, { location: new URL(location), offset }, now().getTime());
      session.uncertain = true;
      sessions.set(id, session);
    } else if (offset > session.upstream.offset && !session.sending) {
      // The requests of one upload may go to several servers in turn.
      session.upstream = { location: new URL(location), offset };
      session.uncertain = true;
    }
    session.usedAtMs = now().getTime();
    return session;
  }

  function end({ id }: Session): void {
    sessions.delete(id);
    ended.add(id);
    for (const oldest of ended) if (ended.size > limits.openUploads) ended.delete(oldest);
  }

  function unseal(sealed: string): z.infer<typeof SealedUpload> {
    try {
      return SealedUpload.parse(JSON.parse(secrets.open(sealed, context)));
    } catch {
      throw unknownUpload();
    }
  }

  /**
   * Asks the registry where the upload stands, when that is not known. Not while bytes are under way. docker-registry 2.8 knows an upload only
   * after its first byte: one without any is where its address says, also when another server opened it.
   */
  async function locate(session: Session): Promise<void> {
    if (!session.uncertain) return;
    if (!sessions.has(session.id)) throw unknownUpload();
    const status = await client.upload.status(session.upstream);
    if (status === undefined && session.upstream.offset > 0) {
      end(session);
      throw unknownUpload();
    }
    session.upstream = status ?? session.upstream;
    session.uncertain = false;
  }

  /** Beyond the limit the one that was left alone for longest goes: it can still be continued, only its hash is lost. */
  function forgetOldest(): void {
    if (sessions.size < limits.openUploads) return;
    const oldest = [...sessions.values()].filter(({ sending }) => !sending).sort((one, other) => one.usedAtMs - other.usedAtMs)[0];
    if (oldest !== undefined) sessions.delete(oldest.id);
  }

  /** Streams the body into the registry. A body that breaks off ends the request in order, so that the registry keeps what it got. */
  async function send(session: Session, body: AsyncIterable<Uint8Array>): Promise<void> {
    let failure: { readonly error: unknown } | undefined;
    let sentBytes = 0;
    const { offset } = session.upstream;
    async function* read(): AsyncGenerator<Uint8Array> {
      try {
        for await (const piece of body) {
          hash(session, offset + sentBytes, piece);
          sentBytes += piece.byteLength;
          yield piece;
        }
      } catch (error) {
        failure = { error };
      }
    }
    session.uncertain = true;
    session.sending = true;
    try {
      const after = await client.upload.append(session.upstream, { read });
      session.upstream = after;
      session.uncertain = after.offset !== offset + sentBytes;
    } catch (error) {
      // The bytes that went with the old token are gone; the client has a new one.
      if (!(error instanceof TokenRenewed)) throw forgotten(session, error);
      throw new ChainloopError('REGISTRY_UNAVAILABLE', 'upload: the registry wanted a new token; resume the upload', { cause: error });
    } finally {
      session.sending = false;
    }
    if (failure !== undefined) throw failure.error;
  }

  async function commit(session: Session, digest: Digest, last: Uint8Array): Promise<void> {
    hash(session, session.upstream.offset, last);
    const sizeBytes = session.upstream.offset + last.byteLength;
    const isHashed = session.hashedBytes === sizeBytes;
    const found = isHashed ? session.hash.copy().digest('hex') : hexOf(digest);
    if (found !== hexOf(digest)) {
      end(session);
      await client.upload.cancel(session.upstream);
      throw new ChainloopError('DIGEST_MISMATCH', `upload: the ${sizeBytes} bytes are sha256:${found}, not ${digest}; send them again`);
    }
    session.uncertain = true;
    try {
      // The registry compares as well; where not all went through this process, it alone does.
      await client.upload.commit(session.upstream, digest, last.byteLength === 0 ? {} : { body: last });
    } catch (error) {
      // The answer may be all that was lost.
      if (!isChainloopError(error, 'REGISTRY_UNAVAILABLE') || (await client.headBlob(digest)) === undefined)
        throw forgotten(session, error);
    }
    end(session);
  }

  /** The registry has forgotten the upload: the client begins a new one. */
  function forgotten(session: Session, error: unknown): unknown {
    if (!(error instanceof RegistryError) || error.status !== 404) return error;
    end(session);
    return unknownUpload(error);
  }

  return {
    async beginUpload() {
      forgetOldest();
      const { minChunkSizeBytes, ...opened } = await client.upload.open();
      const session = newSession(randomUUID(), opened, now().getTime());
      sessions.set(session.id, session);
      return { ...publicUpload(session), minChunkSizeBytes };
    },
    async uploadStatus(sealed) {
      const session = find(sealed);
      return session.turns.take(nothing(), async () => {
        await locate(session);
        return publicUpload(session);
      });
    },
    async append(sealed, offset, body) {
      const session = find(sealed);
      return session.turns.take(body, async (input) => {
        await locate(session);
        assertAt(session, offset);
        await send(session, input);
        return publicUpload(session);
      });
    },
    async finish(sealed, digest, end) {
      const session = find(sealed);
      return session.turns.take(end?.body ?? nothing(), async (input) => {
        await locate(session);
        assertAt(session, end?.offset ?? session.upstream.offset);
        const { last, rest } = await takeLast(input);
        if (rest !== undefined) await send(session, rest);
        await locate(session);
        const sizeBytes = session.upstream.offset + last.byteLength;
        await commit(session, digest, last);
        return { sizeBytes };
      });
    },
    async cancelUpload(sealed) {
      const session = find(sealed);
      await session.turns.take(nothing(), async () => {
        end(session);
        session.uncertain = true;
        await client.upload.cancel(session.upstream);
      });
    },
  };
}

function newSession(id: string, upstream: UpstreamUpload, usedAtMs: number): Session {
  return { id, turns: createTurns(), hash: createHash('sha256'), hashedBytes: 0, upstream, uncertain: false, sending: false, usedAtMs };
}

/** Throws CONFLICT unless the upload is at that offset. */
function assertAt({ upstream }: Session, offset: number): void {
  if (upstream.offset === offset) return;
  throw new ChainloopError('CONFLICT', `upload: it is at offset ${upstream.offset}, not ${offset}; send the bytes from there`);
}

/** Feeds the hash with what follows on what it saw; bytes that are sent a second time are not hashed a second time. */
function hash(session: Session, offset: number, piece: Uint8Array): void {
  const seen = session.hashedBytes - offset;
  if (seen < 0 || seen >= piece.byteLength) return;
  session.hash.update(piece.subarray(seen));
  session.hashedBytes = offset + piece.byteLength;
}

/** A small body in memory as `last`; of a larger one everything as `rest`. */
async function takeLast(
  body: AsyncIterable<Uint8Array>,
): Promise<{ readonly last: Uint8Array; readonly rest: AsyncIterable<Uint8Array> | undefined }> {
  const pieces = body[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let sizeBytes = 0;
  while (sizeBytes <= lastPieceSizeBytes) {
    const next = await pieces.next();
    if (next.done === true) return { last: Buffer.concat(first), rest: undefined };
    first.push(next.value);
    sizeBytes += next.value.byteLength;
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    yield* first;
    yield* { [Symbol.asyncIterator]: () => pieces };
  }
  return { last: Buffer.alloc(0), rest: all() };
}

function unknownUpload(cause?: unknown): ChainloopError {
  return new ChainloopError('NOT_FOUND', 'upload: there is no such upload (any more); start a new one', { cause });
}
