import { randomUUID } from 'node:crypto';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createHttp } from '../core/adapters/http.ts';
import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { systemCode } from '../core/system-code.ts';
import { countCasBackends } from '../db/cas-backends.ts';
import { connect, type Database, type DatabaseOptions } from '../db/client.ts';
import { hasEvidenceOfSize, touchEvidence } from '../db/evidence.ts';
import { countRunners, countRuns } from '../db/metrics.ts';
import { findOrganization } from '../db/organizations.ts';
import { countEffects } from '../db/outbox.ts';
import { forgetExpired } from '../db/run-credentials.ts';
import { expireRuns } from '../db/run-states.ts';
import { forgetSessions } from '../db/sessions.ts';
import { instanceSetting, settle } from '../db/settings.ts';
import { type Authenticate, createIdentify, type Identify } from './actor.ts';
import { systemActor } from './audit-actor.ts';
import { createAuthority } from './ca/authority.ts';
import { isLoopbackHost, parseConfig, type ServerConfig, type ServerOptions } from './config.ts';
import { createContractReader } from './contract-reader.ts';
import { claimDataDirectory, ensureDataDirectory } from './data-directory.ts';
import { effectHandlers } from './effects.ts';
import { recordArrival } from './evidence.ts';
import { createFederation } from './federation/exchange.ts';
import { keyAddresses, readIssuers } from './federation/issuers.ts';
import { createGateway, type Gateway, type GatewayDependencies } from './gateway/index.ts';
import { gatewayActorOf } from './gateway-actor.ts';
import { createHttpServer, type HttpServer, type Timeouts } from './http.ts';
import { createKindChecker } from './kind-checker.ts';
import { createLog, type Log } from './log.ts';
import { createLogin } from './login/login.ts';
import { createMetrics } from './metrics.ts';
import { startOutbox } from './outbox.ts';
import { ensureOwnerToken } from './owner-token.ts';
import { createRefusals } from './refusals.ts';
import { startCollecting } from './retention.ts';
import { openInstanceSecrets } from './secrets.ts';
import { createStorages } from './storages.ts';
import { credentialOf, tokenOf } from './tokens.ts';
import type { Services } from './trpc.ts';
import { createTrustRoots } from './trust-roots.ts';
import { keepOutcome, startValidation } from './validation.ts';
import { createVerdicts } from './verdicts.ts';

export type RunningServer = {
  /** Where it listens: `http://127.0.0.1:43121`. */
  readonly url: string;
  /** Of the instance, as in DIR/owner-token; absent when another data directory has it. */
  readonly ownerToken?: string | undefined;
  /** Says that it is not ready any more, and serves on: whoever balances requests takes it out. */
  retire(): void;
  /** Refuses what is new, lets what is in flight finish for up to limits.drainTimeoutMs, and closes everything. May be called twice. */
  close(): Promise<void>;
};

export type ServerDependencies = {
  readonly log: Log;
  readonly version?: string | undefined;
  readonly now?: (() => Date) | undefined;
  /** Another database than the configured one: tests start with one in memory. */
  readonly database?: DatabaseOptions | undefined;
  readonly timeouts?: Timeouts | undefined;
};

/** How often runs that were open for too long are expired. */
const sweepIntervalMs = 60_000;
const sweepBatch = 1_000;
/** Workflows in one scrape of /metrics, and runners of organizations: those with the most runs. */
const metricsSeries = 10_000;

/**
 * Starts a control plane in this process: data directory, master key, database and schema, owner token, HTTP. Throws USAGE and CONFLICT
 * with what to change: the address or the data directory is taken, the database cannot be used.
 */
export async function startServer(config: ServerConfig, dependencies: ServerDependencies): Promise<RunningServer> {
  const { log, version = '', now = () => new Date() } = dependencies;
  const issuers = await readIssuers(config.issuers);
  // Before anything is made: the wrong port must leave nothing behind.
  await assertFree(config);
  await ensureDataDirectory(config.dataDir);
  await using stack = new AsyncDisposableStack();

  const fallback =
    config.databaseUrl === undefined
      ? { dataDir: join(config.dataDir, 'database') }
      : { databaseUrl: config.databaseUrl, connections: config.databaseConnections };
  const database = await connect(dependencies.database ?? fallback);
  stack.defer(() => database.close());
  const secrets = await openInstanceSecrets(config, database.system);
  const instanceId = await settle(database.system, instanceSetting, randomUUID());
  await claimDataDirectory(config.dataDir, instanceId);
  const storages = createStorages({
    database,
    instanceId,
    secrets,
    log,
    dataDir: config.dataDir,
    allowPrivateRegistries: config.allowPrivateRegistries,
    registryTokenHosts: config.registryTokenHosts,
  });
  stack.defer(() => storages.close());

  const metrics = createMetrics(async () => ({
    byWorkflow: await countRuns(database.system, metricsSeries),
    byRunner: await countRunners(database.system, metricsSeries),
    backends: await countCasBackends(database.system),
    outbox: await countEffects(database.system),
  }));
  let listening: string | undefined;
  const origin = (): string => {
    const known = config.publicUrl ?? listening;
    if (known === undefined) throw new Error('the server was asked for its origin before it listens');
    return known;
  };
  const kinds = createKindChecker();
  stack.defer(() => kinds.close());
  const authority = createAuthority({ database, secrets, now, origin, caDir: config.caDir });
  if (config.caDir !== undefined) await authority.check();
  const verdicts = createVerdicts({ database, storages, authority, origin });
  const { promise: listens, resolve: nowListens } = Promise.withResolvers<void>();
  const outbox = startOutbox({ database, handlers: effectHandlers({ storages, verdicts }), log, metrics, after: listens });
  stack.defer(() => outbox.close());
  const issuerHttp = createHttp({ allowAddress: keyAddresses({ own: config.issuers !== undefined }) });
  stack.defer(() => issuerHttp.close());
  const limitByAddress = config.publicUrl === undefined;
  const federation = createFederation({ database, issuers, http: issuerHttp, now, origin, limitByAddress });
  const providerHttp = createHttp({ allowAddress: keyAddresses({ own: true }) });
  stack.defer(() => providerHttp.close());
  const { login } = config;
  const services: Services = {
    database,
    federation,
    login: login && createLogin({ config: login, database, secrets, http: providerHttp, now, origin }),
    storages,
    contracts: createContractReader(),
    kinds,
    authority,
    trustRoots: createTrustRoots(),
    outbox,
    verdicts,
    metrics,
    refusals: createRefusals({ log, now }),
    log,
    now,
    origin,
  };
  const rates = { token: config.tokenRate, organization: config.organizationRate };
  const identify = createIdentify({ database, log, now, origin, rates, sessionIdleMs: login?.sessionIdleMs });
  const ownerToken = await ensureOwnerToken({ database, dataDir: config.dataDir, log });

  const originFor = (host: string | undefined): string | undefined =>
    config.publicUrl !== undefined || host === new URL(origin()).host ? origin() : undefined;
  const gateway = openGateway({ services, identify, secrets, originFor, limitByAddress });
  const openMetrics = isLoopbackHost(config.host) && config.publicUrl === undefined;
  const authenticate: Authenticate = async (authorization, ...request) => identify(credentialOf(tokenOf(authorization)), ...request);
  const http = createHttpServer({
    services,
    gateway: gateway.handle,
    authenticate,
    version,
    openMetrics,
    maxConnections: config.maxConnections,
    timeouts: dependencies.timeouts,
  });
  const url = await listen(http, config);
  listening = url;
  nowListens();
  const stopSweeping = startSweep(database, log, now);
  const validation = startValidation(services);
  const stopCollecting = startCollecting(services);
  log.info({ url, dataDir: config.dataDir, database: database.kind, version }, 'control plane is ready');

  const resources = stack.move();
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    log.info('control plane is stopping');
    stopSweeping();
    validation.close();
    await stopCollecting();
    http.drain();
    await Promise.all([gateway.close(), idle(http)]);
    http.server.close();
    http.server.closeAllConnections();
    await resources.disposeAsync();
    log.info('control plane has stopped');
  };
  return {
    url,
    ownerToken,
    retire() {
      log.info('control plane is told to stop, and not ready any more');
      http.retire();
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}

/**
 * `chainloop server`: starts with these options, and serves until SIGTERM or SIGINT. Resolves when all is closed. A defect that nobody
 * caught is logged before the process ends with status 1: what is half done is finished by whoever asks again.
 */
export async function serve(
  options: ServerOptions,
  env: Readonly<Record<string, string | undefined>>,
  version: string,
  ready: (server: RunningServer, config: ServerConfig) => void = () => {},
): Promise<void> {
  const config = parseConfig(options, env);
  const log = createLog(config.logLevel, process.stderr);
  const die = (error: unknown): void => {
    log.fatal({ error }, 'unexpected error; the server ends');
    process.exit(1);
  };
  process.on('unhandledRejection', die).on('uncaughtException', die);
  // From the beginning: who reads that the server is ready may end it at that moment.
  const { promise: stopped, resolve: stop } = Promise.withResolvers<NodeJS.Signals>();
  process.once('SIGTERM', stop).once('SIGINT', stop);
  const server = await startServer(config, { log, version });
  ready(server, config);
  const signal = await stopped;
  // With the embedded database there is no other server to go to.
  if (signal === 'SIGTERM' && config.databaseUrl !== undefined) {
    server.retire();
    await sleep(limits.drainNoticeMs);
  }
  // A second signal ends the process at once, as people expect of ^C.
  await server.close();
}

function openGateway(
  options: Pick<GatewayDependencies, 'secrets' | 'originFor' | 'limitByAddress'> & { services: Services; identify: Identify },
): Gateway {
  const { services, identify, ...rest } = options;
  const { database, storages, metrics, log, now } = services;
  return createGateway({
    ...rest,
    now,
    identify: async (credential, organization) => gatewayActorOf(await identify(credential, 1, organization)),
    findOrganization: (name) => findOrganization(database.system, name),
    async storageFor({ id }, action) {
      const scope = database.scope(id, systemActor('gateway'));
      // Whoever uploads must see the default backend alone: what is elsewhere is not there yet.
      return action === 'readBlob' || action === 'readManifest' ? storages.forReading(scope) : (await storages.current(scope)).storage;
    },
    async recordEvidence({ organizationId, by, ...arrival }, storage) {
      // Where it went: another backend may be the current one by now.
      const backend = storages.backendOf(storage);
      const brought = { ...arrival, casBackendId: backend.id, pinned: by.kind !== 'job', at: now() };
      await recordArrival(database.scope(organizationId, by.who), storage, brought);
      // What takes evidence works again, whatever the last check said.
      if (backend.status === 'invalid') await keepOutcome(services, backend, null);
    },
    relyOn: ({ id }, by, digest) => touchEvidence(database.scope(id, by.who), digest, { at: now(), pinned: by.kind !== 'job' }),
    async hasEvidenceOfSize({ id }, sizeBytes) {
      const scope = database.scope(id, systemActor('gateway'));
      return hasEvidenceOfSize(scope, (await storages.current(scope)).id, sizeBytes);
    },
    metrics: {
      request({ route, method, status, receivedBytes, sentBytes, durationMs }) {
        const outcome = status < 400 ? 'success' : 'failure';
        if (route === 'upload' || route === 'uploads') metrics.transfer('upload', outcome, receivedBytes, durationMs / 1000);
        if (route === 'blob' && method === 'GET') metrics.transfer('download', outcome, sentBytes, durationMs / 1000);
      },
    },
    log,
  });
}

async function assertFree(config: ServerConfig): Promise<void> {
  const probe = createServer();
  await bind(probe, config);
  await new Promise((resolve) => probe.close(resolve));
}

async function listen({ server }: HttpServer, config: ServerConfig): Promise<string> {
  await bind(server, config);
  return urlOf(server.address());
}

async function bind(server: Server, { host, port }: ServerConfig): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(port, host, resolve);
  try {
    await promise;
  } catch (cause) {
    const code = systemCode(cause) ?? 'unknown';
    const why = code === 'EADDRINUSE' ? 'something listens there already' : `the system refused it (${code})`;
    throw new ChainloopError('USAGE', `server: cannot listen on ${host}:${port}: ${why}; choose another address with --listen`, { cause });
  } finally {
    server.off('error', reject);
  }
}

function urlOf(address: AddressInfo | string | null): string {
  if (address === null || typeof address === 'string') throw new Error('the server listens on no TCP address');
  // A client cannot call "all addresses"; this machine's own is one of them.
  const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[address.address] ?? address.address;
  return `http://${address.family === 'IPv6' ? `[${host}]` : host}:${address.port}`;
}

/** Until nothing is in flight, or the drain timeout is over. */
async function idle(http: HttpServer): Promise<void> {
  const deadline = performance.now() + limits.drainTimeoutMs;
  while (http.inFlight() > 0 && performance.now() < deadline) await sleep(20);
}

/** Jittered, so that several servers on one database do not all come at once. */
function startSweep(database: Database, log: Log, now: () => Date): () => void {
  let timer: NodeJS.Timeout;
  const sweep = async (): Promise<void> => {
    try {
      let expired: number;
      do {
        expired = await expireRuns(database.systemAs(systemActor('expiry')), now(), sweepBatch);
        if (expired > 0) log.info({ expired }, 'open runs have expired');
      } while (expired === sweepBatch);
      await forgetExpired(database.system, now());
      await forgetSessions(database.system, new Date(now().getTime() - limits.sessionMemoryMs));
    } catch (error) {
      log.warn({ error }, 'what has expired could not be swept; tried again later');
    }
    schedule();
  };
  const schedule = (): void => {
    timer = setTimeout(() => void sweep(), sweepIntervalMs * (0.5 + Math.random())).unref();
  };
  schedule();
  return () => clearTimeout(timer);
}
