import { join } from 'node:path';
import * as z from 'zod';
import { addressKind } from '../core/adapters/address.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { parseReference } from '../core/reference.ts';
import type { wire } from '../core/wire.ts';
import { type CasBackendRow, describeCasBackend, listCasBackends, type NewCasBackend } from '../db/cas-backends.ts';
import type { Database, OrgScope } from '../db/client.ts';
import type { FirstBackend } from '../db/organizations.ts';
import type { Log } from './log.ts';
import type { Secrets } from './secrets.ts';
import { checkStorage } from './storage/check.ts';
import { openLayout } from './storage/layout.ts';
import { createRegistryStorage } from './storage/registry.ts';
import type { Storage } from './storage/storage.ts';

/** The storages of all organizations: each backend is opened once, when it is first needed, and stays open. */
export type Storages = {
  /** The backend that a new organization begins with: a folder of its own on the server's disk. */
  firstBackend(organizationName: string): FirstBackend;
  /** Where new evidence of the organization goes, and its backend's id. STORAGE_UNAVAILABLE. */
  default(scope: OrgScope): Promise<{ readonly id: string; readonly storage: Storage }>;
  /** The backend that some evidence is in. NOT_FOUND. */
  byId(scope: OrgScope, id: string): Promise<Storage>;
  /** The default one for writing; what is not in it is read from the others, where evidence from before a change still is. */
  forReading(scope: OrgScope): Promise<Storage>;
  /** A registry that was given by a tenant, written to and read back; ready to be kept. USAGE, REGISTRY_*, DIGEST_MISMATCH. */
  prepare(organizationId: string, input: z.infer<typeof wire.casBackendAdd>): Promise<Omit<NewCasBackend, 'isDefault'>>;
  /** Writes to a backend and reads back: the problem, or null. */
  check(backend: CasBackendRow): Promise<string | null>;
  close(): Promise<void>;
};

type Location = Pick<CasBackendRow, 'name' | 'provider' | 'location' | 'insecure' | 'credentials'>;
const Login = z.strictObject({ username: z.string(), password: z.string() });

export function createStorages(deps: {
  readonly database: Database;
  readonly secrets: Secrets;
  readonly dataDir: string;
  /** Registries on private and loopback addresses are for servers whose tenants may reach the server's own network. */
  readonly allowPrivateRegistries: boolean;
  readonly registryTokenHosts?: readonly string[] | undefined;
  readonly log: Log;
}): Storages {
  const { secrets, allowPrivateRegistries, registryTokenHosts, log } = deps;
  const opened = new Map<string, Promise<Storage>>();

  async function open(organizationId: string, backend: Location): Promise<Storage> {
    if (backend.provider === 'layout') {
      return openLayout(join(deps.dataDir, 'storage', backend.location), {
        onError: (error) => log.error({ error, backend: backend.name }, 'storage: something is wrong on disk'),
      });
    }
    const { registry, repository } = parseReference(backend.location);
    const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry;
    const login =
      backend.credentials === null
        ? undefined
        : Login.parse(JSON.parse(secrets.open(fromBytes(backend.credentials), contextOf(organizationId, backend))));
    return createRegistryStorage({
      client: {
        origin: `${backend.insecure ? 'http' : 'https'}://${host}`,
        repository,
        tokenHosts: registryTokenHosts,
        ...(login !== undefined && { credentials: { type: 'basic', ...login } }),
        // Plain http is for the server's own network: credentials must not cross a public one in clear.
        allowAddress(address) {
          const kind = addressKind(address);
          return kind === 'public' ? !backend.insecure : allowPrivateRegistries && (kind === 'loopback' || kind === 'private');
        },
      },
      organizationId,
      secrets,
    });
  }

  function openOnce(organizationId: string, backend: CasBackendRow): Promise<Storage> {
    const known = opened.get(backend.id);
    if (known !== undefined) return known;
    const storage = open(organizationId, backend);
    opened.set(backend.id, storage);
    // A disk or key that is not there now may be there later.
    storage.catch(() => opened.delete(backend.id));
    return storage;
  }

  async function openDefault(scope: OrgScope): Promise<{ readonly id: string; readonly storage: Storage }> {
    const backend = await describeCasBackend(scope, 'default');
    return { id: backend.id, storage: await openOnce(scope.organizationId, backend) };
  }

  return {
    firstBackend: (organizationName) => ({ name: 'default', provider: 'layout', location: organizationName }),
    default: openDefault,
    async byId(scope, id) {
      return opened.get(id) ?? openOnce(scope.organizationId, await describeCasBackend(scope, { id }));
    },
    async forReading(scope) {
      const { id, storage } = await openDefault(scope);
      return withFallback(storage, async () => {
        const others = (await listCasBackends(scope)).filter((backend) => backend.id !== id);
        return Promise.all(others.map((backend) => openOnce(scope.organizationId, backend)));
      });
    },
    async prepare(organizationId, input) {
      const { name, username, password, insecure } = input;
      if ((username === undefined) !== (password === undefined)) {
        throw new ChainloopError('USAGE', 'CAS backend: give both --username and --password, or none of them');
      }
      const { registry, repository, tag, digest } = parseReference(input.repo);
      if (tag !== undefined || digest !== undefined)
        throw new ChainloopError('USAGE', 'CAS backend: --repo is host/repository, without tag and digest');
      const location = `${registry}/${repository}`;
      const plain = { name, provider: 'oci', location, insecure } as const;
      const login =
        username === undefined ? null : toBytes(secrets.seal(JSON.stringify({ username, password }), contextOf(organizationId, plain)));
      const backend = { ...plain, credentials: login };
      const storage = await open(organizationId, backend);
      try {
        await checkStorage(storage);
      } finally {
        await storage.close();
      }
      return backend;
    },
    async check(backend) {
      try {
        await checkStorage(await openOnce(backend.organizationId, backend));
        return null;
      } catch (error) {
        if (isChainloopError(error)) return error.message;
        throw error;
      }
    },
    async close() {
      const storages = await Promise.allSettled(opened.values());
      opened.clear();
      await Promise.all(storages.map((result) => (result.status === 'fulfilled' ? result.value.close() : undefined)));
    },
  };
}

/** Credentials open for the organization, name and place that they were given for, and nowhere else. */
function contextOf(organizationId: string, backend: Pick<Location, 'name' | 'location'>): string {
  return `cas-backend:${organizationId}:${backend.name}:${backend.location}`;
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

function toBytes(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}

function fromBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}
