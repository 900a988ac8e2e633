import { createPublicKey, type KeyObject } from 'node:crypto';
import { createKeylessSigner } from '../../core/adapters/keyless.ts';
import type { AuditActor } from '../../core/audit.ts';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import type { Signer } from '../../core/ports.ts';
import { verifierOf } from '../../core/verdict.ts';
import type { Database } from '../../db/client.ts';
import { settingsUnder, settle } from '../../db/settings.ts';
import type { Secrets } from '../secrets.ts';
import { readSigners } from './files.ts';
import { type Generation, makeGeneration, openGeneration, readGeneration, type Signers } from './generation.ts';
import { ownPath } from './own-names.ts';
import { type TrustedRootText, trustedRoot } from './trust-root.ts';

/** Whom a certificate names, and what else is known of it: by the last number of each of Fulcio's OIDs. */
export type CertifiedIdentity = {
  readonly san: string;
  readonly issuer: string;
  readonly claims?: Readonly<Record<string, string>> | undefined;
};

/** The control plane's own certificate authority and time-stamping authority. Nothing is loaded or made before the first use. */
export type CertificateAuthority = {
  /**
   * A certificate of ten minutes for this key, and those between it and the root: PEM, the new one first. FORBIDDEN for the control plane's
   * own name, and whatever else is beneath its address and is no service account.
   */
  issue(publicKey: KeyObject, identity: CertifiedIdentity): Promise<readonly string[]>;
  /** Signs as the control plane itself, `<origin>/verifier`: a new key, a certificate and a stamp for every signature. */
  verifier(): Signer;
  /** Answers an RFC 3161 request, DER to DER. */
  timestamp(request: Uint8Array): Promise<Uint8Array>;
  trustRoot(): Promise<TrustedRootText>;
  /**
   * Begins a new generation; the ones before keep verifying what they signed. USAGE when the authorities are files; LIMIT_EXCEEDED, and
   * nothing is changed, when no verifier could read the trusted root after it.
   */
  rotate(by?: AuditActor): Promise<{ readonly generation: number; readonly createdAt: Date }>;
  /** Makes or reads the keys now, to learn early whether they can be used. USAGE, STORAGE_UNAVAILABLE, LIMIT_EXCEEDED as `rotate`. */
  check(): Promise<void>;
};

type State = { readonly generations: readonly Generation[]; readonly signers: Signers };

/** How long the answer of the database is used: when another server rotates, this one follows. */
const refreshMs = 5_000;
const prefix = 'ca/';

/**
 * Generations are rows of the settings, which nobody can change or delete: `ca/1`, `ca/2`. Of several servers that make the next one at once, the
 * first insert wins, and all use what it wrote.
 */
export function createAuthority(deps: {
  readonly database: Database;
  readonly secrets: Secrets;
  readonly now: () => Date;
  readonly origin: () => string;
  /** A folder with the operator's own (server/ca/files.ts). */
  readonly caDir?: string | undefined;
}): CertificateAuthority {
  const { database, secrets, now, origin, caDir } = deps;
  let loaded: { readonly state: Promise<State>; readonly staleAt: number } | undefined;

  function load(): Promise<State> {
    if (loaded !== undefined && performance.now() < loaded.staleAt) return loaded.state;
    const fresh = { state: caDir === undefined ? fromDatabase() : fromFiles(caDir), staleAt: performance.now() + refreshMs };
    loaded = fresh;
    fresh.state.catch(() => {
      if (loaded === fresh) loaded = undefined;
    });
    return fresh.state;
  }

  async function generations(): Promise<readonly Generation[]> {
    const rows = await settingsUnder(database.system, prefix);
    return rows.map(({ key, value }) => readGeneration(Number(key.slice(prefix.length)), value)).toSorted((a, b) => a.number - b.number);
  }

  /** Generations are for ever: one with which verifiers refuse the trusted root would end keyless signing. */
  async function add(known: readonly Generation[], number: number, text: string, system = database.system): Promise<Generation> {
    // Half of what is read: the origin is in it once for each authority, may become a longer one, and is not known before the server listens.
    const root = JSON.stringify(trustedRoot([...known, readGeneration(number, text)], 'https://chainloop.example.com'));
    if (number > limits.trustRootAuthorities || Buffer.byteLength(root) > limits.trustRootSizeBytes / 2) {
      throw new ChainloopError(
        'LIMIT_EXCEEDED',
        `certificate authority: its trusted root has ${known.length} generations, and takes no more; go on with the current one`,
      );
    }
    return readGeneration(number, await settle(system, `${prefix}${number}`, text));
  }

  async function fromDatabase(): Promise<State> {
    const known = await generations();
    const latest = known.at(-1);
    const signers = latest && openGeneration(latest, secrets);
    if (signers !== undefined) return { generations: known, signers };
    // There is none, or the operator has taken the files away: whichever server is first decides.
    const number = (latest?.number ?? 0) + 1;
    await add(known, number, await makeGeneration(number, now(), secrets));
    return fromDatabase();
  }

  async function fromFiles(folder: string): Promise<State> {
    const at = now();
    const { signers, chains } = await readSigners(folder, at);
    const known = await generations();
    const same = (generation: Generation): boolean =>
      generation.issuing.key === undefined &&
      isSame(generation.issuing.chain, chains.issuing) &&
      isSame(generation.timestamping.chain, chains.timestamping);
    const latest = known.at(-1);
    if (latest !== undefined && same(latest)) return { generations: known, signers };
    const retired = known.find(same);
    if (retired !== undefined) {
      throw new ChainloopError(
        'USAGE',
        `certificate authority: the files in --ca-dir were replaced by generation ${retired.number + 1}; start this server with the current ones`,
      );
    }
    const number = (latest?.number ?? 0) + 1;
    const holders = { issuing: { chain: chains.issuing }, timestamping: { chain: chains.timestamping } };
    await add(known, number, JSON.stringify({ version: 1, createdAt: at.toISOString(), ...holders }));
    return fromFiles(folder);
  }

  async function certify(publicKey: KeyObject, { san, issuer, claims }: CertifiedIdentity): Promise<readonly string[]> {
    if (!/^[\x21-\x7e]{1,2048}$/.test(san)) {
      throw new ChainloopError('USAGE', 'identity: it has characters that a certificate cannot carry; sign with a key instead');
    }
    const { issuing } = (await load()).signers;
    const { signingCertificate, certificatePem } = await import('./certificate.ts');
    const notBefore = new Date(now().getTime() - limits.certificateBackdatingMs);
    notBefore.setUTCMilliseconds(0);
    const notAfter = new Date(notBefore.getTime() + limits.certificateLifetimeMs);
    if (notAfter > issuing.certificate.validToDate) throw endsTooSoon(issuing.certificate.validToDate);
    const extensions = { ...claims, 8: issuer };
    const certificate = signingCertificate(issuing, publicKey, { san, extensions }, { notBefore, notAfter });
    return [certificate, issuing.certificate, ...issuing.intermediates].map(certificatePem);
  }

  async function timestamp(request: Uint8Array): Promise<Uint8Array> {
    const { timestamping } = (await load()).signers;
    const { answerTimestamp } = await import('./timestamp.ts');
    const at = now();
    if (at > timestamping.certificate.validToDate) throw endsTooSoon(timestamping.certificate.validToDate);
    const intermediates = timestamping.intermediates.map(({ raw }) => raw);
    return answerTimestamp(request, { signer: timestamping, intermediates, now: at });
  }

  return {
    async issue(publicKey, identity) {
      const path = ownPath(identity.san, origin());
      if (path === undefined || path.startsWith('/organizations/')) return certify(publicKey, identity);
      throw new ChainloopError('FORBIDDEN', `certificate: '${identity.san}' is a name of this control plane itself, and of no job`);
    },
    verifier() {
      const identity = { san: verifierOf(origin()), issuer: origin() };
      return createKeylessSigner({
        identity: async () => identity.san,
        certificate: (spki) => certify(createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' }), identity),
        timestamp,
      });
    },
    timestamp,
    async trustRoot() {
      // Another server may certify with a generation that was made a moment ago, and who was certified there may push here.
      const { generations: known } = await load();
      if (caDir === undefined && (await settingsUnder(database.system, prefix)).length !== known.length) loaded = undefined;
      return trustedRoot((await load()).generations, origin());
    },
    async rotate(by) {
      if (caDir !== undefined) {
        throw new ChainloopError('USAGE', 'certificate authority: it is in files of --ca-dir; replace them there, and restart the server');
      }
      const { generations: known } = await load();
      const number = (known.at(-1)?.number ?? 0) + 1;
      const system = by === undefined ? database.system : database.systemAs(by);
      const { createdAt } = await add(known, number, await makeGeneration(number, now(), secrets), system);
      loaded = undefined;
      return { generation: number, createdAt };
    },
    async check() {
      await load();
    },
  };
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, at) => text === b[at]);
}

function endsTooSoon(end: Date): ChainloopError {
  return new ChainloopError('CONFLICT', `certificate authority: it ends at ${end.toISOString()}; an operator must rotate it`);
}
