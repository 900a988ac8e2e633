import { randomUUID } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { TLSSocket, connect as tlsConnect } from 'node:tls';
import { createHttp } from '../core/adapters/http.ts';
import { failureOf, HttpFailure } from '../core/adapters/http-failure.ts';
import { digestOf, hexOf } from '../core/digest.ts';
import { ChainloopError, type ErrorCode, isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { CasBackendFinding } from '../core/wire.ts';
import { originOf, type Place } from './backends.ts';
import { checkTag, type Probe, probeOf, readBack, refer, writeBlob } from './storage/check.ts';
import { aboutOthers, enrol, type Keeper, takingOver } from './storage/keeper.ts';
import { artifactManifest, emptyDescriptor, mediaTypes } from './storage/manifest.ts';
import { skewText } from './storage/s3-error.ts';
import type { Storage } from './storage/storage.ts';

/** What an examination found, in order; `problem` is the first thing that is wrong. */
export type Examination = { readonly findings: readonly CasBackendFinding[]; readonly problem: ChainloopError | null };

type Name = CasBackendFinding['check'];
/** What is fine, or a remark about what need not be mended. Throws what has to be. */
type Step = { readonly check: Name; readonly needs: readonly Name[]; run(): Promise<string | { readonly note: string }> };

/**
 * Looks at everything that evidence needs of a backend, one thing after the other, and goes on with what does not depend on what failed.
 * What it writes it removes again, where that is allowed. Nothing of it throws but a defect.
 */
export async function examine(options: {
  readonly storage: Storage;
  readonly place: Place;
  readonly keeper: Keeper;
  readonly allowAddress: (address: string) => boolean;
  readonly explained: (error: unknown, place: Place) => unknown;
}): Promise<Examination> {
  const { storage, place } = options;
  const origin = originOf(place);
  const findings: CasBackendFinding[] = [];
  /** What failed, and what could not be tried, with what was wrong first. */
  const failed = new Map<Name, Name>();
  let problem: ChainloopError | null = null;
  const probe = probeOf(randomUUID());
  const steps =
    origin === undefined
      ? storageSteps(storage, probe)
      : [...networkSteps(origin, options), ...storageSteps(storage, probe), ...remoteSteps(storage, probe, options)];
  for (const { check, needs, run } of steps) {
    const first = needs.map((name) => failed.get(name)).find((name) => name !== undefined);
    if (first !== undefined) {
      failed.set(check, first);
      findings.push({ check, status: 'skipped', detail: `not tried: it needs '${first}'` });
      continue;
    }
    try {
      const found = await run();
      if (typeof found === 'string') findings.push({ check, status: 'ok', detail: found });
      else findings.push({ check, status: 'note', detail: found.note });
    } catch (error) {
      const explained = options.explained(error, place);
      if (!isChainloopError(explained)) throw explained;
      failed.set(check, check);
      problem ??= explained;
      findings.push({ check, status: 'failed', detail: explained.message });
    }
  }
  return { findings, problem };
}

function networkSteps(
  origin: URL,
  { place, allowAddress }: { readonly place: Place; readonly allowAddress: (address: string) => boolean },
): readonly Step[] {
  const hostname = origin.hostname.replace(/^\[|\]$/g, '');
  let address = '';
  return [
    {
      check: 'address',
      needs: [],
      async run() {
        const found = await lookup(hostname, { all: true }).catch((error: unknown) => {
          throw unreachable(origin, failureOf(error, 'look-up', true));
        });
        const addresses = found.map((one) => one.address);
        const refused = addresses.find((one) => !allowAddress(one));
        if (refused !== undefined) {
          const cause = new HttpFailure('address', `the address ${refused} of ${hostname} must not be called`);
          throw new ChainloopError('REGISTRY_ERROR', `storage ${origin.host}: ${cause.message}`, { cause });
        }
        address = addresses[0] ?? '';
        return `${hostname} is ${addresses.join(', ')}`;
      },
    },
    {
      check: 'tls',
      needs: ['address'],
      async run() {
        const socket = await reach(origin, hostname, address);
        const shaken =
          socket instanceof TLSSocket ? { version: socket.getProtocol(), until: socket.getPeerCertificate().valid_to } : undefined;
        socket.destroy();
        if (shaken === undefined) return { note: 'none: plain http, on a private address' };
        const expiresAt = new Date(shaken.until);
        const left = Math.floor((expiresAt.getTime() - Date.now()) / 86_400_000);
        const detail = `${shaken.version}; the certificate is good until ${expiresAt.toISOString().slice(0, 10)}`;
        return left < soonDays ? { note: `${detail}, ${left} days from now: see that it is renewed` } : detail;
      },
    },
    {
      check: 'clock',
      needs: ['tls'],
      async run() {
        const http = createHttp({ allowAddress });
        try {
          const answer = await http.request({ method: 'GET', url: origin, answerTimeoutMs: limits.requestTimeoutMs });
          answer.discard();
          const theirs = Date.parse(answer.header('date') ?? '');
          if (Number.isNaN(theirs)) return { note: 'the storage does not tell the time' };
          const skewMs = Date.now() - theirs;
          if (Math.abs(skewMs) < noticedSkewMs) return 'both clocks agree';
          const detail = `the clock of this server is ${skewText(skewMs)} that of the storage`;
          const isRefused = place.provider === 's3' && Math.abs(skewMs) > refusedSkewMs;
          if (isRefused)
            throw new ChainloopError('REGISTRY_ERROR', `${detail}, and signatures are refused from 15 minutes on: synchronise both (NTP)`);
          return { note: `${detail}: synchronise both (NTP)` };
        } catch (error) {
          throw error instanceof HttpFailure ? unreachable(origin, error) : error;
        } finally {
          http.close();
        }
      },
    },
  ];
}

function storageSteps(storage: Storage, probe: Probe): readonly Step[] {
  return [
    {
      check: 'credentials',
      needs: ['tls'],
      async run() {
        await storage.stat(emptyDescriptor.digest);
        return 'they are accepted';
      },
    },
    {
      check: 'blob',
      needs: ['credentials'],
      async run() {
        await writeBlob(storage, probe);
        return `${probe.bytes.byteLength} bytes were written`;
      },
    },
    {
      check: 'manifest',
      needs: ['blob'],
      async run() {
        await storage.putManifest(checkTag, mediaTypes.manifest, probe.subject);
        return `it was written under the tag ${checkTag}`;
      },
    },
    {
      check: 'pull',
      needs: ['manifest'],
      async run() {
        await readBack(storage, probe);
        return 'what was written was read back, and is the same';
      },
    },
    {
      check: 'referrers',
      needs: ['manifest'],
      async run() {
        if (!(await refer(storage, probe))) {
          throw new ChainloopError(
            'STORAGE_UNAVAILABLE',
            'a manifest that refers to another is not found from there: neither the referrers API nor the tag for those without it works',
          );
        }
        // Where the storage keeps no referrers itself, a tag of this name lists them (distribution specification, "Referrers Tag Schema").
        const tagged = await storage.getManifest(`sha256-${hexOf(probe.subjectDigest)}`);
        return tagged === undefined ? 'the storage lists them itself' : 'by the fallback tag: the registry has no referrers API';
      },
    },
  ];
}

/** What the server's own disk has no say in. */
function remoteSteps(
  storage: Storage,
  probe: Probe,
  { place, keeper }: { readonly place: Place; readonly keeper: Keeper },
): readonly Step[] {
  return [
    {
      check: 'keeper',
      needs: ['referrers'],
      async run() {
        const others = await enrol(storage, keeper);
        const detail = aboutOthers(others, keeper, takingOver(place.name));
        return others.length === 0 ? detail : { note: `retention removes nothing, since ${detail}` };
      },
    },
    {
      check: 'limits',
      needs: ['blob'],
      async run() {
        const { session } = await storage.beginUpload();
        const half = await storage.append(session, 0, zeros(largeSizeBytes / 2));
        await storage.finish(half.session, largeDigest, { offset: half.offset, body: zeros(largeSizeBytes / 2) });
        const manifest = largeManifest();
        await storage.putManifest(digestOf(manifest), mediaTypes.manifest, manifest);
        await storage.removeManifest?.(digestOf(manifest));
        await storage.removeBlob?.(largeDigest);
        return `${largeSizeBytes / MiB} MiB in two requests, and a manifest of ${manifest.byteLength / 1024} KiB`;
      },
    },
    {
      check: 'delete',
      needs: ['manifest'],
      async run() {
        if (storage.removeManifest === undefined) return { note: 'not tried' };
        const removed = await storage.removeManifest(probe.referrerDigest);
        if (!removed) return { note: 'not allowed, which is fine: nothing is removed but by retention' };
        await storage.removeManifest(checkTag);
        await storage.removeManifest(probe.subjectDigest);
        await storage.removeBlob?.(probe.digest);
        return 'what was written was removed';
      },
    },
  ];
}

const MiB = 1024 * 1024;
/** More than S3 takes as one part of ours, and more than most proxies let through when nobody told them. The same bytes each time. */
const largeSizeBytes = 10 * MiB;
const largeDigest = digestOf(new Uint8Array(largeSizeBytes));
/** A manifest about 1,000 files has 256 KiB. */
const largeManifestSizeBytes = 256 * 1024;
const soonDays = 14;
const noticedSkewMs = 30_000;
/** Amazon S3 API reference, "Error responses": RequestTimeTooSkewed. */
const refusedSkewMs = 15 * 60 * 1000;

async function* zeros(sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let sent = 0; sent < sizeBytes; sent += MiB) yield new Uint8Array(Math.min(MiB, sizeBytes - sent));
}

function largeManifest(): Uint8Array {
  const layer = { ...emptyDescriptor, annotations: { padding: '' } };
  const without = artifactManifest({ artifactType: 'application/vnd.chainloop.check.v1', layer }).byteLength;
  layer.annotations.padding = '0'.repeat(largeManifestSizeBytes - without);
  return artifactManifest({ artifactType: 'application/vnd.chainloop.check.v1', layer });
}

/** Connects to that address, as that host; over https with a handshake. */
async function reach(origin: URL, servername: string, host: string): Promise<Socket> {
  const isTls = origin.protocol === 'https:';
  const port = Number(origin.port || (isTls ? 443 : 80));
  // A name is not sent for an address (RFC 6066, section 3).
  const socket = isTls ? tlsConnect({ host, port, ...(servername === host ? {} : { servername }) }) : connect({ host, port });
  try {
    await once(socket, isTls ? 'secureConnect' : 'connect', { signal: AbortSignal.timeout(limits.requestTimeoutMs) });
    return socket;
  } catch (error) {
    socket.destroy();
    const isSilent = error instanceof Error && error.name === 'AbortError';
    throw unreachable(origin, isSilent ? new HttpFailure('timeout', 'it does not answer') : failureOf(error, 'connection', true));
  }
}

function unreachable({ host }: URL, failure: HttpFailure): ChainloopError {
  const advice: Readonly<Record<HttpFailure['reason'], string>> = {
    address: 'it must not be called',
    unknownHost: 'check the name',
    tls: 'repair that, or trust a CA of your own with NODE_EXTRA_CA_CERTS',
    unreachable: 'check that it runs, and that this server may connect to it',
    broken: 'check that it runs, and that this server may connect to it',
    timeout: 'check that it runs, and that this server may connect to it',
  };
  const code: ErrorCode = failure.reason === 'address' ? 'REGISTRY_ERROR' : 'REGISTRY_UNAVAILABLE';
  return new ChainloopError(code, `storage ${host}: ${failure.message}; ${advice[failure.reason]}`, { cause: failure });
}
