import { buildBundle, parseBundle } from '../bundle.ts';
import { acceptsSigning, type SealedCrafting, seal } from '../completeness.ts';
import type { Crafting } from '../crafting.ts';
import type { Digest } from '../digest.ts';
import { pae, statementPayloadType } from '../dsse.ts';
import { ChainloopError, type ErrorCode, isChainloopError, isOutage } from '../errors.ts';
import { limits } from '../limits.ts';
import type { BundleAttacher, Clock, ControlPlane, CraftingStore, Signer } from '../ports.ts';
import { buildStatement, parseStatement } from '../statement.ts';
import { verifyBundle } from '../verify.ts';
import { attach, type ImageOfBundle, imagesOfBundle } from './attach.ts';
import type { Attachment } from './attachment.ts';
import { endings } from './end.ts';

export type PushPorts = {
  readonly store: CraftingStore;
  /** Not called in a dry run. */
  readonly controlPlane: ControlPlane;
  /** Absent: a dry run is not signed, and anything else is USAGE. Not asked when the attestation is signed already. */
  readonly signer?: Signer | undefined;
  readonly now: Clock;
  /** Fixes what no `init` has fixed, where jobs share the attestation: variables, commit, annotations. Absent: NO_CRAFTING then. */
  readonly begin?: (() => Promise<unknown>) | undefined;
  /** Puts the bundle on the container images too, once it is recorded. Not called in a dry run. */
  readonly attacher?: BundleAttacher | undefined;
};
export type PushOptions = {
  /** `chainloop.dev/cli/<version>@sha256:<digest>`. */
  readonly builderId: string;
  /** Added to those of `init`. Not looked at when the attestation is signed already. */
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  /**
   * When a service that signing needs does not answer: keep the statement, sealed and not signed. The next push signs these very bytes, and
   * nothing is added meanwhile. Otherwise the attestation stays open.
   */
  readonly keepUnsigned?: boolean | undefined;
};
export type Pushed =
  | {
      readonly type: 'pushed';
      readonly runId: string;
      readonly digest: Digest;
      readonly bundle: string;
      /** One for each container image, when that was asked for. */
      readonly attachments: readonly Attachment[];
    }
  | { readonly type: 'dryRun'; readonly statement: Uint8Array; readonly bundle?: string | undefined };

/**
 * Seals, signs, verifies its own work, keeps the bundle, sends it, and forgets the crafting. A push whose outcome is unknown is repeated
 * with the same bytes; a push that was refused for what is in it can be mended and signed again. One whose bundle could not be attached to
 * every image is not forgotten: the same again attaches what is left. RUNNER_MISMATCH and CONTRACT_NOT_SATISFIED with all problems,
 * and the codes of the control plane.
 */
export async function push(ports: PushPorts, options: PushOptions): Promise<Pushed> {
  for (let attempt = 1; ; attempt++) {
    const crafting = await begun(ports);
    if (crafting.start.dryRun) return finishDryRun(ports, options, crafting);
    const bundle = (await ports.store.sealed()) ?? (await sealAndSign(ports, options, crafting));
    const { runId } = crafting.start.identity;
    try {
      const { digest } = await ports.controlPlane.push({ runId, bundle });
      const attachments = ports.attacher === undefined ? [] : await attach(ports.attacher, bundle, imagesOf(bundle, crafting));
      if (attachments.every(({ error }) => error === undefined)) await ports.store.remove();
      return { type: 'pushed', runId, digest, bundle, attachments };
    } catch (error) {
      if (!isChainloopError(error)) throw error;
      if (refusals.has(error.code)) await ports.store.unseal();
      // Another job has brought something since the materials were read.
      const overtaken = ports.store.shared === true && error.code === 'CONFLICT';
      if (!overtaken || attempt === limits.attempts) throw advised(error);
    }
  }
}

/** The images of the bundle; only the crafting knows which layout one was found in. */
function imagesOf(bundle: string, { materials }: Crafting): readonly ImageOfBundle[] {
  return imagesOfBundle(bundle).map((image) => ({ ...image, layout: materials.find(({ name }) => name === image.material)?.layout }));
}

async function begun({ store, begin }: PushPorts): Promise<Crafting> {
  const crafting = await store.load();
  if (crafting.provisional !== true) return crafting;
  if (begin === undefined) {
    throw new ChainloopError('NO_CRAFTING', 'attestation: no job has begun it; begin it with: chainloop attestation init');
  }
  await begin();
  return store.load();
}

/** The control plane has judged these very bytes: they must become others. Everything else may be sent again as it is. */
const refusals: ReadonlySet<ErrorCode> = new Set([
  'LIMIT_EXCEEDED',
  'BUNDLE_INVALID',
  'SIGNATURE_INVALID',
  'SIGNER_UNTRUSTED',
  'TIMESTAMP_INVALID',
  'STATEMENT_INVALID',
  'STATEMENT_MISMATCH',
  'SUBJECT_MISMATCH',
  'CONTRACT_NOT_SATISFIED',
  'RUNNER_MISMATCH',
  'EVIDENCE_MISSING',
  'POLICY_NOT_SATISFIED',
  'CONFLICT',
]);

/** Where no key is trusted yet, the verifier has said so. */
const keyTrust = /chainloop key trust/;

function advised(error: ChainloopError): ChainloopError {
  const advice = endings.has(error.code)
    ? 'forget it here with: chainloop attestation reset'
    : error.code === 'SIGNER_UNTRUSTED'
      ? `nothing was recorded; sign with a trusted key${keyTrust.test(error.message) ? '' : ', or have this one trusted with: chainloop key trust'}`
      : refusals.has(error.code)
        ? 'nothing was recorded; mend it and push again'
        : 'the signed attestation is kept; push again, and the same bytes are sent';
  return new ChainloopError(error.code, `${error.message}; ${advice}`, { problems: error.problems, cause: error });
}

async function finishDryRun(ports: PushPorts, options: PushOptions, crafting: Crafting): Promise<Pushed> {
  const statement = buildStatement(sealed(crafting, options), { finishedAt: ports.now(), builderId: options.builderId });
  const bundle = ports.signer === undefined ? undefined : await signed(statement, ports.signer);
  await ports.store.remove();
  return { type: 'dryRun', statement, bundle };
}

/** What was sealed, and could not be signed then, is signed as it is. */
async function sealAndSign(ports: PushPorts, options: PushOptions, first: Crafting): Promise<string> {
  const kept = await ports.store.keptStatement();
  if (kept === undefined) return sealNow(ports, options, first);
  const bundle = await signed(kept, signerFor(ports, first));
  await ports.store.seal(bundle);
  return bundle;
}

/** Adding goes on in parallel steps: what came in between reading and sealing is part of the statement, or the seal is undone. */
async function sealNow(ports: PushPorts, options: PushOptions, first: Crafting): Promise<string> {
  let crafting = first;
  for (let attempt = 0; attempt < limits.attempts; attempt++) {
    const complete = sealed(crafting, options);
    const signer = signerFor(ports, crafting);
    const statement = buildStatement(complete, { finishedAt: ports.now(), builderId: options.builderId });
    const bundle = await signed(statement, signer).catch(async (error: unknown) => {
      if (options.keepUnsigned === true && isOutage(error)) await keepUnsigned(ports.store, statement, crafting);
      throw error;
    });
    await ports.store.seal(bundle);
    const now = await ports.store.load();
    if (isUnchanged(now, crafting)) return bundle;
    await ports.store.unseal();
    crafting = now;
  }
  throw new ChainloopError('CONFLICT', 'attestation: evidence keeps being added while it is signed; push when all of it is there');
}

async function keepUnsigned(store: CraftingStore, statement: Uint8Array, crafting: Crafting): Promise<void> {
  await store.keepStatement(statement);
  if (!isUnchanged(await store.load(), crafting)) await store.unseal();
}

function isUnchanged(now: Crafting, before: Crafting): boolean {
  return JSON.stringify(now.materials) === JSON.stringify(before.materials);
}

function signerFor({ signer }: PushPorts, crafting: Crafting): Signer {
  if (signer === undefined) {
    throw new ChainloopError(
      'USAGE',
      'attestation: there is no key to sign with; give one with --key, or make one: chainloop key generate',
    );
  }
  refuseOtherWay(crafting, signer);
  return signer;
}

/** Said before a key is certified for nothing. The control plane asks again. */
function refuseOtherWay({ start: { contract } }: Crafting, { way }: Signer): void {
  if (way === undefined || acceptsSigning(contract, way)) return;
  const { signing = [] } = contract;
  const found = { key: 'with a key', keyless: 'keyless', sigstore: 'with Sigstore' }[way];
  const advice = signing.includes('keyless')
    ? 'leave --key and CHAINLOOP_SIGNING_KEY out, or give --signing keyless'
    : signing.includes('sigstore')
      ? 'give --signing sigstore'
      : 'give the private key with --key FILE, or CHAINLOOP_SIGNING_KEY';
  throw new ChainloopError(
    'CONTRACT_NOT_SATISFIED',
    `attestation: this would be signed ${found}, and the contract accepts only: ${signing.join(', ')}; ${advice}`,
  );
}

function sealed(crafting: Crafting, options: PushOptions): SealedCrafting {
  const { start, materials } = crafting;
  return seal({ start: { ...start, annotations: { ...start.annotations, ...options.annotations } }, materials });
}

/** The bundle of a statement, after a look at it with a verifier's eyes. */
async function signed(payload: Uint8Array, signer: Signer): Promise<string> {
  const made = await signer.sign(pae(statementPayloadType, payload));
  const { verification } = made;
  const bundle = buildBundle({ payload, payloadType: statementPayloadType, ...made });
  const { payload: covered } =
    verification.type === 'publicKey'
      ? verifyBundle(bundle, { type: 'keys', keys: [{ name: 'signer', pem: verification.publicKeyPem }] })
      : parseBundle(bundle, { canonical: true });
  parseStatement(covered);
  if (!Buffer.from(covered).equals(payload)) throw new Error('the bundle does not carry the bytes that were signed');
  return bundle;
}
