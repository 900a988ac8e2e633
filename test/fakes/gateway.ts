import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChainloopError } from '../../core/errors.ts';
import type { GatewayActor } from '../../server/gateway/actor.ts';
import type { Evidence } from '../../server/gateway/exchange.ts';
import { createGateway, type GatewaySample, gatewayServerOptions } from '../../server/gateway/index.ts';
import { openLayout } from '../../server/storage/layout.ts';
import type { Storage } from '../../server/storage/storage.ts';
import { listen } from './listen.ts';

/** The tokens that the fake knows. The job is a service account of acme; the stranger belongs to `other`. */
export const tokens = {
  owner: 'owner-token',
  api: 'api-token-of-acme',
  job: 'job-token-of-acme',
  stranger: 'api-token-of-other',
  expired: 'expired-token',
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
  readonly samples: readonly GatewaySample[];
  /** What the gateway logged: defects. */
  readonly errors: readonly unknown[];
  /** As a SIGTERM does it. */
  drain(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** The real gateway on a free loopback port, in front of a layout (or the given storage), with fixed tokens instead of a database. */
export async function startGateway(options: { readonly storage?: Storage; readonly idleTimeoutMs?: number } = {}): Promise<FakeGateway> {
  const directory = await mkdtemp(join(tmpdir(), 'chainloop-gateway-'));
  const storage = options.storage ?? (await openLayout(join(directory, 'acme')));
  const otherStorage = await openLayout(join(directory, 'other'));
  const evidence: Evidence[] = [];
  const samples: GatewaySample[] = [];
  const errors: unknown[] = [];
  const gateway = createGateway({
    async authenticate(authorization) {
      return actorOf(authorization);
    },
    findOrganization: async (name) => [acme, other].find((organization) => organization.name === name),
    storageFor: async ({ name }) => (name === 'acme' ? storage : otherStorage),
    recordEvidence: async (one) => void evidence.push(one),
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
    samples,
    errors,
    drain: () => gateway.close(),
    async [Symbol.asyncDispose]() {
      await listening[Symbol.asyncDispose]();
      await gateway.close();
      await Promise.all([storage.close(), otherStorage.close()]);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function actorOf(authorization: string | undefined): GatewayActor {
  const [scheme, credentials = ''] = (authorization ?? '').split(' ');
  const token = scheme === 'Basic' ? Buffer.from(credentials, 'base64').toString().split(':')[1] : credentials;
  switch (token) {
    case tokens.owner:
      return { kind: 'owner' };
    case tokens.api:
      return { kind: 'api', organization: acme };
    case tokens.job:
      return { kind: 'job', organization: acme };
    case tokens.stranger:
      return { kind: 'api', organization: other };
    case tokens.expired:
      throw new ChainloopError('TOKEN_EXPIRED', 'the token has expired');
    default:
      throw new ChainloopError('UNAUTHENTICATED', 'no token, or an unknown one: log in');
  }
}
