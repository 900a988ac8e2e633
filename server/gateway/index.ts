import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Digest } from '../../core/digest.ts';
import { limits } from '../../core/limits.ts';
import type { Storage } from '../storage/storage.ts';
import { type Action, type GatewayActor, type GatewayCaller, type GatewayKind, type GatewayOrganization, mayDo } from './actor.ts';
import { type Authentication, type AuthenticationOptions, createAuthentication } from './authentication.ts';
import { answerBlob } from './blobs.ts';
import { challengeOf } from './challenge.ts';
import { listReferrers, listTags } from './discovery.ts';
import { DistributionError, distributionErrorOf, nameUnknown } from './errors.ts';
import { type Evidence, type Exchange, sendJson, type Traffic } from './exchange.ts';
import { answerManifest, putManifest } from './manifests.ts';
import { refuse } from './refusal.ts';
import { actionOf, allowedMethods, parseRoute, type Route } from './route.ts';
import { covers } from './scope.ts';
import { answerToken } from './token.ts';
import { continueUpload, startUpload } from './uploads.ts';

export type GatewayDependencies = AuthenticationOptions & {
  /** The origin to send a client to that called us by that `Host`; undefined when we do not know how it reaches us. */
  originFor(host: string | undefined): string | undefined;
  /** The organization of that name, for an owner, who may enter any. */
  findOrganization(name: string): Promise<GatewayOrganization | undefined>;
  /**
   * Its storage. One object for each organization while the server runs: the layout on disk counts on it. For reading it may also be one
   * that looks where evidence was kept before.
   */
  storageFor(organization: GatewayOrganization, action: Action): Promise<Storage>;
  /** Remembers that evidence arrived in that storage. Called again for the same digest, with more known about it. */
  recordEvidence(evidence: Evidence & { readonly by: GatewayCaller }, storage: Storage): Promise<void>;
  /** Somebody is told that a blob is there, and may rely on it. False: it is not to be relied on, and has to be sent. */
  relyOn(organization: GatewayOrganization, by: GatewayCaller, digest: Digest): Promise<boolean>;
  /**
   * True when the organization has evidence of exactly this size where uploads go. Asked for sizes that are worth hashing twice rather
   * than sending once more.
   */
  hasEvidenceOfSize(organization: GatewayOrganization, sizeBytes: number): Promise<boolean>;
  /** One call for each request that has ended. */
  readonly metrics?: { request(sample: GatewaySample): void } | undefined;
  readonly log: { error(fields: object, message: string): void };
  /** For tests. Default: limits.idleTimeoutMs. */
  readonly idleTimeoutMs?: number | undefined;
};

/** What one request did. `route` is `none` for a path that leads nowhere; `status` is 499 when the client left before the answer. */
export type GatewaySample = Traffic & {
  readonly route: Route['type'] | 'none';
  readonly method: string;
  readonly status: number;
  readonly durationMs: number;
};

export type Gateway = {
  /** Answers a request for `/v2` or below. Never rejects. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** Refuses new requests, waits for those under way for limits.drainTimeoutMs, then cuts them off. Uploads can be resumed afterwards. */
  close(): Promise<void>;
};

/**
 * What the HTTP server in front of the gateway needs. Node would end every request after five minutes: an upload takes as long as it
 * takes, and the gateway ends it when nothing arrives. Large pieces spare CPU.
 */
export const gatewayServerOptions = {
  requestTimeout: 0,
  headersTimeout: limits.requestTimeoutMs,
  maxHeaderSize: limits.headerSizeBytes,
  highWaterMark: 256 * 1024,
  noDelay: true,
} as const;

/**
 * The OCI distribution API (specification 1.1) in front of the storage of an organization: `/v2/<organization>/…` is its one
 * repository. Nothing is deleted here, and nothing is answered about an organization to somebody else.
 */
export function createGateway(dependencies: GatewayDependencies): Gateway {
  const authentication = createAuthentication(dependencies);
  const underWay = new Map<ServerResponse, Promise<void>>();
  let closing = false;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedMs = performance.now();
    const requestId = String(response.getHeader('x-request-id') ?? randomUUID());
    const traffic: Traffic = { receivedBytes: 0, sentBytes: 0 };
    const { route, query } = parseRoute(request.url ?? '/');
    response.setHeader('docker-distribution-api-version', 'registry/2.0');
    response.setHeader('x-request-id', requestId);
    try {
      if (closing)
        throw new DistributionError('UNAVAILABLE', 'the control plane is stopping: try again', { headers: { 'retry-after': '1' } });
      await dispatch(dependencies, authentication, { request, response, query, traffic }, route);
    } catch (error) {
      const refusal = distributionErrorOf(error);
      if (refusal?.status === 401 && !response.headersSent) {
        response.setHeader('www-authenticate', challengeOf(dependencies.originFor(request.headers.host), request, route, refusal));
      }
      const gone = response.socket === null || response.socket.destroyed;
      // What fails after the head of an answer can be told to nobody else.
      const cutOff = response.headersSent && error !== request.errored;
      if (!gone && (refusal === undefined || cutOff)) {
        const what = refusal === undefined ? 'gateway: internal error' : 'gateway: an answer was cut off';
        dependencies.log.error({ error, requestId, route: route?.type }, what);
      }
      await refuse(request, response, refusal ?? new DistributionError('UNKNOWN', `internal error; request id ${requestId}`));
    } finally {
      dependencies.metrics?.request({
        ...traffic,
        route: route?.type ?? 'none',
        method: request.method ?? '',
        status: response.writableFinished || response.writableEnded ? response.statusCode : 499,
        durationMs: performance.now() - startedMs,
      });
    }
  }

  return {
    handle(request, response) {
      const done = answer(request, response).finally(() => underWay.delete(response));
      underWay.set(response, done);
      return done;
    },
    async close() {
      closing = true;
      const cut = setTimeout(() => {
        for (const response of underWay.keys()) response.destroy();
      }, limits.drainTimeoutMs);
      await Promise.all(underWay.values());
      clearTimeout(cut);
    },
  };
}

type Arrival = Pick<Exchange, 'request' | 'response' | 'query' | 'traffic'>;

async function dispatch(
  dependencies: GatewayDependencies,
  authentication: Authentication,
  arrival: Arrival,
  route: Route | undefined,
): Promise<void> {
  const { request } = arrival;
  const action = route && actionOf(route, request.method ?? '');
  if (action === 'login') return answerToken(arrival, authentication);
  // 1. Who asks: before anything is said about anything.
  const actor = await authentication.actorOf(request, route !== undefined && 'organization' in route ? route.organization : undefined);
  if (route === undefined) throw nameUnknown();
  if (route.type === 'ping' || route.type === 'token') {
    if (action === undefined) throw unsupported(route);
    return sendJson(arrival, {});
  }
  // 2. Where: another organization is the same as none.
  const place = await placeOf(dependencies, actor, route.organization);
  if (place === undefined) throw nameUnknown();
  const { kind, ...organization } = place;
  const caller: GatewayCaller = { kind, who: actor.who };
  // 3. What: by the method, by what the registry token was asked for, by who it is.
  if (action === undefined || action === 'delete') throw unsupported(route);
  if (!covers(actor.access, organization.name, action)) {
    throw new DistributionError('UNAUTHORIZED', 'the registry token was not asked for this: ask for one with the scope that is named');
  }
  if (!mayDo(kind, action)) {
    const why = kind === 'viewer' ? 'a viewer may only read' : 'a job may only upload evidence: use an API token to read it';
    throw new DistributionError('DENIED', why);
  }
  const storage = await dependencies.storageFor(organization, action);
  const record: Exchange['record'] = (evidence) =>
    dependencies.recordEvidence({ ...evidence, organizationId: organization.id, by: caller }, storage);
  // What an uploader is told to be there, it will not send: so that has to stay.
  const relied: Storage = {
    ...storage,
    async stat(digest) {
      const found = await storage.stat(digest);
      return found !== undefined && (await dependencies.relyOn(organization, caller, digest)) ? found : undefined;
    },
  };
  // A job's manifest speaks of what it has just uploaded; an operator's keeps all that it leads to.
  const relies = action === 'statBlob' || action === 'uploadBlob' || (action === 'writeManifest' && kind !== 'job');
  const isUploader = kind !== 'viewer' && relies;
  const idleTimeoutMs = dependencies.idleTimeoutMs ?? limits.idleTimeoutMs;
  const hasSize: Exchange['hasSize'] = (sizeBytes) => dependencies.hasEvidenceOfSize(organization, sizeBytes);
  const exchange: Exchange = { ...arrival, caller, organization, storage: isUploader ? relied : storage, record, hasSize, idleTimeoutMs };
  switch (route.type) {
    case 'blob':
      return answerBlob(exchange, route.digest);
    case 'uploads':
      return startUpload(exchange);
    case 'upload':
      return continueUpload(exchange, route.session);
    case 'manifest':
      return action === 'writeManifest' ? putManifest(exchange, route.reference) : answerManifest(exchange, route.reference);
    case 'tags':
      return listTags(exchange);
    case 'referrers':
      return listReferrers(exchange, route.digest);
  }
}

async function placeOf(
  dependencies: GatewayDependencies,
  actor: GatewayActor,
  name: string,
): Promise<(GatewayOrganization & { readonly kind: GatewayKind }) | undefined> {
  if (actor.type === 'member') return actor.organizations.find((organization) => organization.name === name);
  const organization = await dependencies.findOrganization(name);
  return organization && { ...organization, kind: 'api' };
}

function unsupported(route: Route): DistributionError {
  return new DistributionError(
    'UNSUPPORTED',
    'this registry does not do that: evidence is never deleted through it, and only added as the specification says',
    { headers: { allow: allowedMethods(route).join(', ') } },
  );
}
