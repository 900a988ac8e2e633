import { randomUUID } from 'node:crypto';
import type * as z from 'zod';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import type { wire } from '../core/wire.ts';
import {
  type CasBackendRow,
  describeCasBackend,
  describeCurrentCasBackend,
  listCasBackends,
  type NewCasBackend,
} from '../db/cas-backends.ts';
import type { Database, OrgScope } from '../db/client.ts';
import type { FirstBackend } from '../db/organizations.ts';
import { createBackends, type Login, type Place } from './backends.ts';
import { type Examination, examine } from './examination.ts';
import type { Log } from './log.ts';
import type { Secrets } from './secrets.ts';
import { checkStorage } from './storage/check.ts';
import { aboutOthers, assertAlone, enrol, type Keeper, takeOver, withdraw } from './storage/keeper.ts';
import type { Storage } from './storage/storage.ts';

/** The storages of all organizations: each backend is opened once, when it is first needed, and stays open. */
export type Storages = {
  /** The backend that a new organization begins with: a folder of its own on the server's disk. */
  firstBackend(organizationName: string): FirstBackend;
  /** Where new evidence of the organization goes (db/cas-backends.ts says which one that is). STORAGE_UNAVAILABLE. */
  current(scope: OrgScope): Promise<CurrentStorage>;
  /** The backend behind what `current` answered, as it was then. */
  backendOf(storage: Storage): CasBackendRow;
  /** The backend that some evidence is in. NOT_FOUND. */
  byId(scope: OrgScope, id: string): Promise<Storage>;
  /** The current one for writing; what is not in it is read from the others, where evidence from before a change still is. */
  forReading(scope: OrgScope): Promise<Storage>;
  /**
   * A backend that was given by a tenant, written to and read back; ready to be kept. USAGE, REGISTRY_*, DIGEST_MISMATCH; CONFLICT when
   * somebody else keeps evidence there, unless it is to be taken over.
   */
  prepare(organizationId: string, input: z.infer<typeof wire.casBackendAdd>): Promise<Omit<NewCasBackend, 'isDefault'>>;
  /** Writes to a backend with other credentials and reads back: the credentials, ready to be kept. USAGE, REGISTRY_*, DIGEST_MISMATCH. */
  prove(backend: CasBackendRow, login: Login): Promise<Uint8Array>;
  /** Writes to a backend and reads back: the problem, or null. What it writes is the same for the same mark. */
  check(backend: CasBackendRow, mark: string): Promise<ChainloopError | null>;
  /** Looks at everything that evidence needs of a backend. */
  examine(backend: CasBackendRow): Promise<Examination>;
  /**
   * A backend to remove something from; undefined when nothing was ever written to it. CONFLICT when somebody else keeps evidence there
   * (storage/keeper.ts).
   */
  forRemoving(scope: OrgScope, id: string): Promise<Storage | undefined>;
  /** From now on the organization alone keeps evidence there: whoever did before is gone for good. REGISTRY_ERROR. */
  takeOver(backend: CasBackendRow): Promise<void>;
  /** The organization keeps nothing there any more; what cannot be reached stays marked. */
  leave(backend: CasBackendRow): Promise<void>;
  close(): Promise<void>;
};

export type CurrentStorage = { readonly id: string; readonly storage: Storage };

/** What was opened, with which credentials, and when the backend was last looked up. */
type Opened = { readonly storage: Promise<Storage>; readonly credentials: string; readonly lookedUpMs: number };

/** Another server may have replaced the credentials: for so long the old ones are still used. */
const lookUpEveryMs = 10_000;

export function createStorages(deps: {
  readonly database: Database;
  readonly secrets: Secrets;
  readonly dataDir: string;
  /** What tells this control plane from others, in a storage that they share. */
  readonly instanceId: string;
  /** Registries on private and loopback addresses are for servers whose tenants may reach the server's own network. */
  readonly allowPrivateRegistries: boolean;
  readonly registryTokenHosts?: readonly string[] | undefined;
  readonly log: Log;
}): Storages {
  const backends = createBackends(deps);
  const opened = new Map<string, Opened>();
  const backendOf = new WeakMap<Storage, CasBackendRow>();

  function openOnce(organizationId: string, backend: CasBackendRow): Promise<Storage> {
    const known = opened.get(backend.id);
    const credentials = Buffer.from(backend.credentials ?? []).toString('latin1');
    // With other credentials it is another storage. The old one ends with what is under way in it.
    const storage = known?.credentials === credentials ? known.storage : backends.open(organizationId, backend);
    opened.set(backend.id, { storage, credentials, lookedUpMs: performance.now() });
    // A disk or key that is not there now may be there later.
    storage.catch(() => opened.delete(backend.id));
    return storage;
  }

  async function openCurrent(scope: OrgScope): Promise<CurrentStorage> {
    const backend = await describeCurrentCasBackend(scope);
    const storage = await openOnce(scope.organizationId, backend);
    backendOf.set(storage, backend);
    return { id: backend.id, storage };
  }

  const keeperOf = (organizationId: string): Keeper => ({ organizationId, instanceId: deps.instanceId });

  /** Opens it for a moment, writes and reads back. */
  async function prove(organizationId: string, place: Place, then?: (storage: Storage) => Promise<void>): Promise<void> {
    const storage = await backends.open(organizationId, place);
    try {
      await checkStorage(storage, randomUUID());
      await then?.(storage);
    } catch (error) {
      throw backends.explained(error, place);
    } finally {
      await storage.close();
    }
  }

  return {
    firstBackend: (organizationName) => ({ name: 'default', provider: 'layout', location: organizationName }),
    current: openCurrent,
    backendOf(storage) {
      const backend = backendOf.get(storage);
      if (backend === undefined) throw new Error('evidence was written to a storage that is not the current one');
      return backend;
    },
    async byId(scope, id) {
      const known = opened.get(id);
      if (known !== undefined && performance.now() - known.lookedUpMs < lookUpEveryMs) return known.storage;
      return openOnce(scope.organizationId, await describeCasBackend(scope, { id }));
    },
    async forReading(scope) {
      const { id, storage } = await openCurrent(scope);
      return withFallback(storage, async () => {
        const others = (await listCasBackends(scope)).filter((backend) => backend.id !== id);
        const open = async (backend: CasBackendRow) =>
          (await backends.isMade(backend)) ? openOnce(scope.organizationId, backend) : undefined;
        return (await Promise.all(others.map(open))).filter((storage) => storage !== undefined);
      });
    },
    async prepare(organizationId, input) {
      const place = backends.placeOf(organizationId, input);
      const keeper = keeperOf(organizationId);
      await prove(organizationId, place, async (storage) => {
        if (input.takeOver) {
          await takeOver(storage, keeper).catch((error: unknown) => {
            // Where nothing can be removed the marks of the others stay, and so does everything else.
            if (!isChainloopError(error, 'REGISTRY_ERROR')) throw error;
          });
        }
        const others = await enrol(storage, keeper);
        if (others.length === 0 || input.takeOver) return;
        await withdraw(storage, keeper).catch(() => {});
        const instead = 'if that one is gone for good, add it with --take-over';
        throw new ChainloopError('CONFLICT', `CAS backend: ${aboutOthers(others, keeper, instead)}`);
      });
      return place;
    },
    async prove(backend, login) {
      const credentials = backends.seal(backend.organizationId, backend, login);
      await prove(backend.organizationId, { ...backend, credentials });
      return credentials;
    },
    async check(backend, mark) {
      try {
        const storage = await openOnce(backend.organizationId, backend);
        await checkStorage(storage, mark);
        // From before there were marks, or lost. Who else is there is said by `examine`, and before anything is removed.
        if (backend.provider !== 'layout') await enrol(storage, keeperOf(backend.organizationId));
        return null;
      } catch (error) {
        const problem = backends.explained(error, backend);
        if (isChainloopError(problem)) return problem;
        throw problem;
      }
    },
    async examine(backend) {
      const storage = await openOnce(backend.organizationId, backend);
      const { allowAddress, explained } = backends;
      return examine({ storage, place: backend, keeper: keeperOf(backend.organizationId), allowAddress: allowAddress(backend), explained });
    },
    async forRemoving(scope, id) {
      const backend = await describeCasBackend(scope, { id });
      if (!(await backends.isMade(backend))) return undefined;
      const storage = await openOnce(scope.organizationId, backend);
      // On disk the whole data directory is of one control plane, and a folder in it of one organization.
      if (backend.provider !== 'layout') await assertAlone(storage, keeperOf(scope.organizationId), backend.name);
      return storage;
    },
    async takeOver(backend) {
      if (backend.provider === 'layout') return;
      await takeOver(await openOnce(backend.organizationId, backend), keeperOf(backend.organizationId));
    },
    async leave(backend) {
      if (backend.provider === 'layout') return;
      try {
        await withdraw(await openOnce(backend.organizationId, backend), keeperOf(backend.organizationId));
      } catch (error) {
        deps.log.warn({ error, backend: backend.name }, 'the mark of the organization stays in a storage backend that was removed');
      }
    },
    async close() {
      const storages = await Promise.allSettled(Array.from(opened.values(), ({ storage }) => storage));
      opened.clear();
      await Promise.all(storages.map((result) => (result.status === 'fulfilled' ? result.value.close() : undefined)));
    },
  };
}

function withFallback(storage: Storage, others: () => Promise<readonly Storage[]>): Storage {
  const firstOf = async <T>(read: (from: Storage) => Promise<T | undefined>): Promise<T | undefined> => {
    const found = await read(storage);
    if (found !== undefined) return found;
    for (const other of await others()) {
      const there = await read(other);
      if (there !== undefined) return there;
    }
    return undefined;
  };
  return {
    ...storage,
    stat: (digest) => firstOf((from) => from.stat(digest)),
    fetch: (digest, range) => firstOf((from) => from.fetch(digest, range)),
    getManifest: (reference) => firstOf((from) => from.getManifest(reference)),
  };
}
