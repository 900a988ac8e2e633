import { join } from 'node:path';
import * as z from 'zod';
import { type AddressKind, addressKind } from '../core/adapters/address.ts';
import { HttpFailure } from '../core/adapters/http-failure.ts';
import { apiHostOf, usernameProblem } from '../core/adapters/oci/registries.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { parseReference } from '../core/reference.ts';
import type { wire } from '../core/wire.ts';
import type { CasBackendRow, NewCasBackend } from '../db/cas-backends.ts';
import type { Database } from '../db/client.ts';
import { createLocks } from '../db/locks.ts';
import type { Log } from './log.ts';
import type { Secrets } from './secrets.ts';
import { isPresent } from './storage/disk.ts';
import { openLayout } from './storage/layout.ts';
import { createRegistryStorage } from './storage/registry.ts';
import { createS3Storage } from './storage/s3.ts';
import type { Storage } from './storage/storage.ts';

/** What a backend is and where, with sealed credentials: a row, or what will be one. */
export type Place = Pick<CasBackendRow, 'name' | 'provider' | 'location' | 'insecure' | 'region' | 'virtualHost' | 'credentials'>;

const RegistryLogin = z.strictObject({ username: z.string(), password: z.string() });
const S3Login = z.strictObject({ accessKeyId: z.string(), secretAccessKey: z.string(), sessionToken: z.string().optional() });
export type Login = z.infer<typeof RegistryLogin> | z.infer<typeof S3Login>;

/** What tenants give and rows hold, made into storages. */
export type Backends = {
  /** Connects to nothing yet. STORAGE_UNAVAILABLE when the folder cannot be used, or the credentials not be opened. */
  open(organizationId: string, place: Place): Promise<Storage>;
  /**
   * False for a folder on the server's disk that nothing was ever written to: where the disk must not hold evidence, it cannot even be made,
   * and its absence must not stop what is elsewhere.
   */
  isMade(place: Pick<Place, 'provider' | 'location'>): Promise<boolean>;
  /** The place that a tenant gave, with sealed credentials. USAGE. */
  placeOf(organizationId: string, input: z.infer<typeof wire.casBackendAdd>): Omit<NewCasBackend, 'isDefault'> & Place;
  /** Other credentials for a place, sealed. USAGE when it takes none, or others. */
  seal(organizationId: string, place: Omit<Place, 'credentials'>, login: Login): Uint8Array;
  /** Asked about the resolved address of every connection to a place. */
  allowAddress(place: Pick<Place, 'insecure'>): (address: string) => boolean;
  /** An error with what to do about an address that is not called. */
  explained(error: unknown, place: Pick<Place, 'insecure'>): unknown;
};

export function createBackends(deps: {
  readonly database: Database;
  readonly secrets: Secrets;
  readonly dataDir: string;
  /** Registries on private and loopback addresses are for servers whose tenants may reach the server's own network. */
  readonly allowPrivateRegistries: boolean;
  readonly registryTokenHosts?: readonly string[] | undefined;
  readonly log: Log;
}): Backends {
  const { secrets, allowPrivateRegistries, registryTokenHosts, log } = deps;
  const { exclusively: exclusive } = createLocks(deps.database);

  // Plain http is for the server's own network: credentials must not cross a public one in clear.
  const allowAddress: Backends['allowAddress'] =
    ({ insecure }) =>
    (address) => {
      const kind: AddressKind = addressKind(address);
      return kind === 'public' ? !insecure : allowPrivateRegistries && (kind === 'loopback' || kind === 'private');
    };

  function loginOf<T>(organizationId: string, place: Place, schema: z.ZodType<T>): T | undefined {
    const { credentials } = place;
    if (credentials === null) return undefined;
    return schema.parse(JSON.parse(secrets.open(Buffer.from(credentials).toString('latin1'), contextOf(organizationId, place))));
  }

  const seal: Backends['seal'] = (organizationId, place, login) => {
    const { name, provider } = place;
    if (provider === 'layout') throw usage(`'${name}': it is on the server's disk, which takes no credentials`);
    if ((provider === 's3') !== 'accessKeyId' in login) {
      throw usage(`'${name}': ${provider === 's3' ? 'a bucket takes an access key' : 'a registry takes a username and a password'}`);
    }
    const problem = 'username' in login ? usernameProblem(parseReference(place.location).registry, login.username) : undefined;
    if (problem !== undefined) throw usage(`'${name}': ${problem}`);
    return Buffer.from(secrets.seal(JSON.stringify(login), contextOf(organizationId, place)), 'latin1');
  };

  const folderOf = ({ location }: Pick<Place, 'location'>): string => join(deps.dataDir, 'storage', location);

  return {
    allowAddress,
    seal,
    isMade: async (place) => place.provider !== 'layout' || isPresent(folderOf(place)),
    async open(organizationId, place) {
      switch (place.provider) {
        case 'layout':
          return openLayout(folderOf(place), {
            onError: (error) => log.error({ error, backend: place.name }, 'storage: something is wrong on disk'),
          });
        case 'oci': {
          const { registry, repository } = parseReference(place.location);
          const host = apiHostOf(registry);
          const login = loginOf(organizationId, place, RegistryLogin);
          return createRegistryStorage({
            client: {
              origin: `${place.insecure ? 'http' : 'https'}://${host}`,
              repository,
              tokenHosts: registryTokenHosts,
              exclusive,
              ...(login !== undefined && { credentials: { type: 'basic', ...login } }),
              allowAddress: allowAddress(place),
            },
            organizationId,
            secrets,
          });
        }
        case 's3': {
          const credentials = loginOf(organizationId, place, S3Login);
          if (credentials === undefined) throw new Error('a bucket without credentials was kept');
          const { region, virtualHost } = place;
          return createS3Storage({
            client: { ...bucketOf(place.location), region: region ?? '', virtualHost, credentials, allowAddress: allowAddress(place) },
            organizationId,
            secrets,
          });
        }
      }
    },
    placeOf(organizationId, input) {
      if (input.provider === 's3') {
        const { name, endpoint, bucket, prefix, region, accessKeyId, secretAccessKey, sessionToken } = input;
        const origin = endpoint ?? `https://s3.${region}.amazonaws.com`;
        // The certificate for *.host is for one label, and a bucket's name may have several.
        const virtualHost = input.virtualHost ?? (endpoint === undefined && !bucket.includes('.'));
        if (virtualHost && bucket.includes('.')) throw usage('a bucket with a dot in its name needs --path-style');
        const location = [origin, bucket, ...(prefix === undefined ? [] : [prefix])].join('/');
        const insecure = origin.startsWith('http:');
        const plain = { name, provider: 's3', location, insecure, region, virtualHost } as const;
        return { ...plain, credentials: seal(organizationId, plain, { accessKeyId, secretAccessKey, sessionToken }) };
      }
      const { name, username, password, insecure } = input;
      if ((username === undefined) !== (password === undefined)) throw usage('give both --username and --password, or none of them');
      const { registry, repository, tag, digest } = parseReference(input.repo);
      if (tag !== undefined || digest !== undefined) throw usage('--repo is host/repository, without tag and digest');
      // One spelling of each place: what two organizations share is found by it (db/retention.ts).
      const location = `${registry.toLowerCase().replace(/:443$/, '')}/${repository}`;
      const plain = { name, provider: 'oci', location, insecure, region: null, virtualHost: false } as const;
      const login = username === undefined || password === undefined ? null : seal(organizationId, plain, { username, password });
      return { ...plain, credentials: login };
    },
    explained(error, { insecure }) {
      if (!isChainloopError(error) || !(error.cause instanceof HttpFailure) || error.cause.reason !== 'address') return error;
      const advice = allowPrivateRegistries
        ? `metadata services are never called${insecure ? ', and plain http is for private addresses alone' : ''}`
        : 'storage on a private address needs a server that was started with --allow-private-registries';
      return new ChainloopError(error.code, `${error.message}; ${advice}`, { cause: error });
    },
  };
}

/** Where the requests to a backend go first; undefined for the server's own disk. */
export function originOf({ provider, location, insecure, virtualHost }: Place): URL | undefined {
  switch (provider) {
    case 'layout':
      return undefined;
    case 'oci': {
      const { registry } = parseReference(location);
      return new URL(`${insecure ? 'http' : 'https'}://${apiHostOf(registry)}/v2/`);
    }
    case 's3': {
      const { origin, bucket } = bucketOf(location);
      const { protocol, host } = new URL(origin);
      return new URL(virtualHost ? `${protocol}//${bucket}.${host}/` : `${origin}/`);
    }
  }
}

/** `https://host/bucket/prefix` in its parts. */
function bucketOf(location: string): { readonly origin: string; readonly bucket: string; readonly prefix: string } {
  const { origin, pathname } = new URL(location);
  const [bucket = '', ...prefix] = pathname.slice(1).split('/');
  return { origin, bucket, prefix: prefix.join('/') };
}

/** Credentials open for the organization, name and place that they were given for, and nowhere else. */
function contextOf(organizationId: string, { name, location }: Pick<Place, 'name' | 'location'>): string {
  return `cas-backend:${organizationId}:${name}:${location}`;
}

function usage(what: string): ChainloopError {
  return new ChainloopError('USAGE', `CAS backend: ${what}`);
}
