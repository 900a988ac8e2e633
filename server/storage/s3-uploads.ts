import * as z from 'zod';
import { ChainloopError, isChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import type { Secrets } from '../secrets.ts';
import { offsetOf, type Staged, type Staging } from './s3-staging.ts';
import { createSlots } from './slots.ts';
import type { Storage, Upload } from './storage.ts';
import { createTurns, nothing, type Turns } from './turns.ts';

/** What a session says, sealed for the organization: any server can go on with it. With how far it was, as who sealed it knew. */
const SealedUpload = z.tuple([z.uuid(), z.string().min(1).max(2048), z.int().min(0)]);

/** An upload that this process knows. */
type Session = {
  readonly staged: Staged;
  readonly turns: Turns;
  /** S3 has to be asked where the upload stands. */
  uncertain: boolean;
  sending: boolean;
  usedAtMs: number;
};

/** How often forgotten uploads are looked for. */
const sweepEveryMs = 60 * 60 * 1000;

/**
 * Uploads into a bucket: who writes, and how far. S3 keeps the rest (s3-staging.ts), so that a session survives the server; this process
 * remembers only the hash of what went through it.
 */
export function createS3Uploads(options: {
  readonly staging: Staging;
  readonly secrets: Secrets;
  readonly context: string;
  readonly now: () => Date;
}): Pick<Storage, 'beginUpload' | 'uploadStatus' | 'append' | 'finish' | 'cancelUpload' | 'close'> {
  const { staging, secrets, context, now } = options;
  const sessions = new Map<string, Session>();
  const slots = createSlots(limits.s3UploadsAtOnce, limits.s3WaitMs);
  let sweptAt = now();
  let sweeping: Promise<void> = Promise.resolve();

  function publicUpload({ staged }: Session): Upload {
    const offset = offsetOf(staged);
    return { session: secrets.seal(JSON.stringify([staged.id, staged.uploadId, offset]), context), offset };
  }

  /** The session in a sealed text; from the text alone when another process, or an earlier one, opened it. */
  function find(sealed: string): Session {
    const [id, uploadId, offset] = unseal(sealed);
    const session = sessions.get(id) ?? remember(staging.known(id, uploadId), true);
    // The requests of one upload may go to several servers in turn.
    if (offset !== offsetOf(session.staged)) session.uncertain = true;
    return session;
  }

  function unseal(sealed: string): z.infer<typeof SealedUpload> {
    try {
      return SealedUpload.parse(JSON.parse(secrets.open(sealed, context)));
    } catch {
      throw unknownUpload();
    }
  }

  /** Beyond the limit the one that was left alone for longest goes: it can still be continued, and is read once before it is believed. */
  function remember(staged: Staged, uncertain: boolean): Session {
    if (sessions.size >= limits.openUploads) {
      const idle = [...sessions.values()].filter(({ sending }) => !sending);
      const oldest = idle.sort((one, other) => one.usedAtMs - other.usedAtMs)[0];
      if (oldest !== undefined) sessions.delete(oldest.staged.id);
    }
    const session = { staged, turns: createTurns(), uncertain, sending: false, usedAtMs: now().getTime() };
    sessions.set(staged.id, session);
    return session;
  }

  /** Asks S3 where the upload stands, when that is not known. NOT_FOUND. */
  async function locate(session: Session): Promise<void> {
    session.usedAtMs = now().getTime();
    if (!session.uncertain) return;
    if (!(await staging.locate(session.staged))) {
      sessions.delete(session.staged.id);
      throw unknownUpload();
    }
    session.uncertain = false;
  }

  /** Runs what changes the upload at that offset (CONFLICT); when it fails, S3 has to be asked where it stands. */
  async function change<T>(session: Session, offset: number | undefined, work: () => Promise<T>): Promise<T> {
    await locate(session);
    const at = offsetOf(session.staged);
    if (offset !== undefined && offset !== at) {
      throw new ChainloopError('CONFLICT', `upload: it is at offset ${at}, not ${offset}; send the bytes from there`);
    }
    const release = await slots.take();
    session.sending = true;
    session.uncertain = true;
    try {
      const result = await work();
      session.uncertain = false;
      return result;
    } finally {
      session.sending = false;
      release();
    }
  }

  return {
    async beginUpload() {
      const at = now();
      if (at.getTime() - sweptAt.getTime() >= sweepEveryMs) {
        sweptAt = at;
        // Beside the upload, so that no timer has to be stopped; what fails is tried again in an hour.
        sweeping = staging.sweep(new Date(at.getTime() - limits.uploadLifetimeMs)).catch(() => {});
      }
      return publicUpload(remember(await staging.begin(), false));
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
        const failure = await change(session, offset, async () => {
          const sent = await staging.send(session.staged, input);
          await staging.keep(session.staged, sent.rest);
          return sent.failure;
        });
        if (failure !== undefined) throw failure.error;
        return publicUpload(session);
      });
    },
    async finish(sealed, digest, end) {
      const session = find(sealed);
      const { staged } = session;
      // No bytes are known of, and none come: they went through another server.
      if (end === undefined && offsetOf(staged) === 0) session.uncertain = true;
      return session.turns.take(end?.body ?? nothing(), async (input) => {
        const outcome = await change(session, end?.offset, async () => {
          const sent = staged.whole === undefined ? await staging.send(staged, input) : undefined;
          if (sent?.failure !== undefined) {
            await staging.keep(staged, sent.rest);
            return sent.failure;
          }
          try {
            const stat = await staging.commit(staged, digest, sent);
            sessions.delete(staged.id);
            return stat;
          } catch (error) {
            if (isChainloopError(error, 'DIGEST_MISMATCH')) sessions.delete(staged.id);
            throw error;
          }
        });
        if ('error' in outcome) throw outcome.error;
        return outcome;
      });
    },
    async cancelUpload(sealed) {
      const session = find(sealed);
      await session.turns.take(nothing(), async () => {
        sessions.delete(session.staged.id);
        session.uncertain = true;
        await staging.forget(session.staged);
      });
    },
    close: () => sweeping,
  };
}

function unknownUpload(): ChainloopError {
  return new ChainloopError('NOT_FOUND', 'upload: there is no such upload (any more); start a new one');
}
