import { join } from 'node:path';
import * as z from 'zod';
import { addressKind } from '../core/adapters/address.ts';
import { HttpFailure } from '../core/adapters/http-failure.ts';
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
  /** Where new evidence of the organization goes, and its backend. STORAGE_UNAVAILABLE. */
  default(scope: OrgScope): Promise<DefaultStorage>;
  /** The backend that some evidence is in. NOT_FOUND. */
  byId(scope: OrgScope, id: string): Promise<Storage>;
  /** The default one for writing; what is not in it is read from the others, where evidence from before a change still is. */
  forReading(scope: OrgScope): Promise<Storage>;
  /** A registry that was given by a tenant, written to and read back; ready to be kept. USAGE, REGISTRY_*, DIGEST_MISMATCH. */
  prepare(organizationId: string, input: z.infer<typeof wire.casBackendAdd>): Promise<Omit<NewCasBackend, 'isDefault'>>;
  /** Writes to a registry with other credentials and reads back: the credentials, ready to be kept. USAGE, REGISTRY_*, DIGEST_MISMATCH. */
  prove(backend: CasBackendRow, login: Login): Promise<Uint8Array>;
  /** Writes to a backend and reads back: the problem, or null. */
  check(backend: CasBackendRow): Promise<ChainloopError | null>;
  close(): Promise<void>;
};

type DefaultStorage = Pick<CasBackendRow, 'id' | 'name' | 'status'> & { readonly storage: Storage };

/** What was opened, with which credentials, and when the backend was last looked up. */
type Opened = { readonly storage: Promise<Storage>; readonly credentials: string; readonly lookedUpMs: number };

/** Another server may have replaced the credentials: for so long the old ones are still used. */
const lookUpEveryMs = 10_000;

type Location = Pick<CasBackendRow, 'name' | 'provider' | 'location' | 'insecure' | 'credentials'>;
const Login = z.strictObject({ username: z.string(), password: z.string() });
type Login = z.infer<typeof Login>;

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
  const opened = new Map<string, Opened>();

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
    const credentials = backend.credentials === null ? '' : fromBytes(backend.credentials);
    // With other credentials it is another storage. The old one ends with what is under way in it.
    const storage = known?.credentials === credentials ? known.storage : open(organizationId, backend);
    opened.set(backend.id, { storage, credentials, lookedUpMs: performance.now() });
    // A disk or key that is not there now may be there later.
    storage.catch(() => opened.delete(backend.id));
    return storage;
  }

  async function openDefault(scope: OrgScope): Promise<DefaultStorage> {
    const backend = await describeCasBackend(scope, 'default');
    const { id, name, status } = backend;
    return { id, name, status, storage: await openOnce(scope.organizationId, backend) };
  }

  /** Opens it for a moment, writes and reads back. */
  async function prove(organizationId: string, backend: Location): Promise<void> {
    const storage = await open(organizationId, backend);
    try {
      await checkStorage(storage);
    } catch (error) {
      throw explained(error, backend);
    } finally {
      await storage.close();
    }
  }

  function explained(error: unknown, { insecure }: Pick<Location, 'insecure'>): unknown {
    if (!isChainloopError(error) || !(error.cause instanceof HttpFailure) || error.cause.reason !== 'address') return error;
    const advice = allowPrivateRegistries
      ? `metadata services are never called${insecure ? ', and plain http (--insecure) is for private addresses alone' : ''}`
      : 'a registry on a private address needs a server that was started with --allow-private-registries';
    return new ChainloopError(error.code, `${error.message}; ${advice}`, { cause: error });
  }

  const seal = (organizationId: string, backend: Pick<Location, 'name' | 'location'>, login: Login): Uint8Array =>
    toBytes(secrets.seal(JSON.stringify(login), contextOf(organizationId, backend)));

  return {
    firstBackend: (organizationName) => ({ name: 'default', provider: 'layout', location: organizationName }),
    default: openDefault,
    async byId(scope, id) {
      const known = opened.get(id);
      if (known !== undefined && performance.now() - known.lookedUpMs < lookUpEveryMs) return known.storage;
      return openOnce(scope.organizationId, await describeCasBackend(scope, { id }));
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
      const login = username === undefined || password === undefined ? null : seal(organizationId, plain, { username, password });
      const backend = { ...plain, credentials: login };
      await prove(organizationId, backend);
      return backend;
    },
    async prove(backend, login) {
      if (backend.provider === 'layout') {
        throw new ChainloopError('USAGE', `CAS backend '${backend.name}': it is on the server's disk, which takes no credentials`);
      }
      const credentials = seal(backend.organizationId, backend, login);
      await prove(backend.organizationId, { ...backend, credentials });
      return credentials;
    },
    async check(backend) {
      try {
        await checkStorage(await openOnce(backend.organizationId, backend));
        return null;
      } catch (error) {
        const problem = explained(error, backend);
        if (isChainloopError(problem)) return problem;
        throw problem;
      }
    },
    async close() {
      const storages = await Promise.allSettled(Array.from(opened.values(), ({ storage }) => storage));
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
