import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Digest } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import type { GatewayActor } from '../../server/gateway/actor.ts';
import type { Evidence } from '../../server/gateway/exchange.ts';
import { createGateway, type GatewaySample, gatewayServerOptions } from '../../server/gateway/index.ts';
import { createSecrets } from '../../server/sealing.ts';
import { openLayout } from '../../server/storage/layout.ts';
import type { Storage } from '../../server/storage/storage.ts';
import { hashToken, makeToken } from '../../server/tokens.ts';
import { listen } from './listen.ts';

/** The tokens that the fake knows. The job is a service account of acme; the stranger belongs to `other`. */
export const tokens = {
  owner: makeToken('owner').token,
  api: makeToken('api').token,
  job: makeToken('service-account').token,
  stranger: makeToken('api').token,
  expired: makeToken('api').token,
  revocable: makeToken('api').token,
} as const;

const acme = { id: '00000000-0000-4000-8000-000000000001', name: 'acme' };
const other = { id: '00000000-0000-4000-8000-000000000002', name: 'other' };

export type FakeGateway = {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  readonly origin: string;
  /** The storage of acme, unless another one was given. */
  readonly storage: Storage;
  /** The folder of its layout. */
  readonly directory: string;
  /** What arrived, in order. */
  readonly evidence: readonly Evidence[];
  /** What somebody who is no job relies on. */
  readonly pinned: ReadonlySet<string>;
  readonly samples: readonly GatewaySample[];
  /** What the gateway logged: defects. */
  readonly errors: readonly unknown[];
  /** From now on that token is refused. */
  revoke(token: string): void;
  /** As a SIGTERM does it. */
  drain(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** The real gateway on a free loopback port, in front of a layout (or the given storage), with fixed tokens instead of a database. */
export async function startGateway(
  options: { readonly storage?: Storage; readonly idleTimeoutMs?: number; readonly now?: () => Date } = {},
): Promise<FakeGateway> {
  const directory = await mkdtemp(join(tmpdir(), 'chainloop-gateway-'));
  const storage = options.storage ?? (await openLayout(join(directory, 'acme')));
  const otherStorage = await openLayout(join(directory, 'other'));
  const evidence: Evidence[] = [];
  const pinned = new Set<string>();
  const samples: GatewaySample[] = [];
  const errors: unknown[] = [];
  const revoked = new Set<Digest>();
  const gateway = createGateway({
    identify: async ({ hash }) => actorOf(hash, revoked),
    secrets: createSecrets(randomBytes(32)),
    now: options.now ?? (() => new Date()),
    limitByAddress: true,
    originFor: (host) => (host === listening.host ? listening.origin : undefined),
    findOrganization: async (name) => [acme, other].find((organization) => organization.name === name),
    storageFor: async ({ name }) => (name === 'acme' ? storage : otherStorage),
    recordEvidence: async ({ by: _, ...one }) => void evidence.push(one),
    relyOn: async (_, { kind }, one) => {
      if (kind !== 'job') pinned.add(one);
      return true;
    },
    hasEvidenceOfSize: async (_, sizeBytes) => evidence.some((one) => one.sizeBytes === sizeBytes),
    metrics: { request: (sample) => void samples.push(sample) },
    log: { error: (fields) => void errors.push(fields) },
    idleTimeoutMs: options.idleTimeoutMs,
  });
  const server = createServer(gatewayServerOptions, (request, response) => void gateway.handle(request, response));
  const listening = await listen(server);
  return {
    host: listening.host,
    origin: listening.origin,
    storage,
    directory: join(directory, 'acme'),
    evidence,
    pinned,
    samples,
    errors,
    revoke: (token) => void revoked.add(hashToken(token)),
    drain: () => gateway.close(),
    async [Symbol.asyncDispose]() {
      await listening[Symbol.asyncDispose]();
      await gateway.close();
      await Promise.all([storage.close(), otherStorage.close()]);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

const who = { kind: 'system', id: null, name: 'tester' } as const;

function actorOf(hash: Digest, revoked: ReadonlySet<Digest>): GatewayActor {
  if (revoked.has(hash)) throw new ChainloopError('TOKEN_REVOKED', 'the token was revoked');
  switch (hash) {
    case hashToken(tokens.owner):
      return { type: 'owner', who };
    case hashToken(tokens.api):
    case hashToken(tokens.revocable):
      return { type: 'member', organizations: [{ ...acme, kind: 'api' }], who };
    case hashToken(tokens.job):
      return { type: 'member', organizations: [{ ...acme, kind: 'job' }], who };
    case hashToken(tokens.stranger):
      return { type: 'member', organizations: [{ ...other, kind: 'api' }], who };
    case hashToken(tokens.expired):
      throw new ChainloopError('TOKEN_EXPIRED', 'the token has expired');
    default:
      throw new ChainloopError('UNAUTHENTICATED', 'an unknown token: log in');
  }
}
