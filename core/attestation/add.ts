import { withFixed, wrongAnnotations } from '../annotations.ts';
import type { ContractMaterial } from '../contract.ts';
import type { CraftedMaterial, Crafting } from '../crafting.ts';
import { ChainloopError, isChainloopError } from '../errors.ts';
import { assertFileName } from '../file-name.ts';
import { limits } from '../limits.ts';
import type { Summary } from '../material/document.ts';
import { checkKind, kinds } from '../material.ts';
import type { MaterialType } from '../names.ts';
import { didYouMean } from '../nearest.ts';
import type { CraftingStore, EvidenceStore, Files, ImageResolver } from '../ports.ts';
import { printable } from '../source/place.ts';
import { endings } from './end.ts';

export type AddOptions = {
  readonly name: string;
  /** A text, a path, or an image reference: the contract says which. */
  readonly value: string;
  /** What the caller believes the contract asks for. */
  readonly kind?: MaterialType | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
};

export type AddPorts = {
  readonly store: CraftingStore;
  readonly files: Files;
  readonly images: ImageResolver;
  /** Not called in a dry run, nor where the contract says `skipUpload`. */
  readonly evidence: EvidenceStore;
  /** Opens the run of an attestation that jobs share, where no other has: any of them may come first. Absent: NO_CRAFTING then. */
  readonly open?: (() => Promise<unknown>) | undefined;
};

export type Added = {
  readonly material: CraftedMaterial;
  /** The same name had other content before. */
  readonly replaced: boolean;
  /** The job that had brought the very same before. */
  readonly recordedBy?: string | undefined;
  /** A few facts about what was added, for people: of an SBOM its version and number of components. */
  readonly summary: Summary;
};

/** What measuring finds out; the rest of a material comes from the contract and the caller. */
type Measured = Omit<CraftedMaterial, 'name' | 'type' | 'annotations'> & { readonly summary?: Summary };

/**
 * Adds evidence: finds the material in the contract, opens and checks what was given, uploads it, and records it last. May be repeated.
 * MATERIAL_UNKNOWN, MATERIAL_KIND_MISMATCH, MATERIAL_INVALID; CONTRACT_NOT_SATISFIED for annotations that the contract does not
 * have; CRAFTING_SEALED after a push; NO_CRAFTING; where jobs share the attestation, CONFLICT with the content of another; and what files,
 * registries and the control plane say.
 */
export async function add(ports: AddPorts, options: AddOptions): Promise<Added> {
  const crafting = await loaded(ports);
  await refuseSealed(ports.store);
  const wanted = wantedMaterial(crafting, options);
  const annotations = withFixed(wanted.annotations, options.annotations ?? {});
  const problems = wrongAnnotations(`material '${wanted.name}'`, wanted.annotations, annotations);
  const [problem] = problems;
  if (problem !== undefined) {
    const message = problems.length === 1 ? problem.message : `material '${wanted.name}': ${problems.length} problems with its annotations`;
    throw new ChainloopError('CONTRACT_NOT_SATISFIED', `contract: ${message}`, { problems });
  }
  const { summary = {}, ...measured } = await measure(ports, wanted, options.value, crafting.start.dryRun);
  const material: CraftedMaterial = { name: wanted.name, type: wanted.type, ...measured, annotations };
  const recordedBy = await ports.store.put(material);
  // A push at the same moment looks at the materials after it has sealed, as this looks at the seal after the material is there:
  // one of the two sees the other.
  await refuseSealed(ports.store);
  const before = crafting.materials.find((candidate) => candidate.name === wanted.name);
  const replaced = before !== undefined && (before.digest !== material.digest || before.value !== material.value);
  return { material, replaced, recordedBy, summary };
}

/** The crafting; where jobs share it, of a run that is open: what has ended may be followed by another, which the control plane decides. */
async function loaded({ store, open }: AddPorts): Promise<Crafting> {
  try {
    return await store.load();
  } catch (error) {
    const over = isChainloopError(error) && (error.code === 'NO_CRAFTING' || endings.has(error.code));
    if (open === undefined || !over) throw error;
    await open();
    return store.load();
  }
}

function wantedMaterial({ start }: Crafting, { name, kind }: AddOptions): ContractMaterial {
  const { materials } = start.contract;
  const wanted = materials.find((material) => material.name === name);
  if (wanted === undefined) {
    const names = materials.map((material) => material.name);
    const known = names.length === 0 ? 'it has none' : `it has: ${names.slice(0, limits.problems).join(', ')}`;
    throw new ChainloopError('MATERIAL_UNKNOWN', `contract: no material '${printable(name)}' (${known})${didYouMean(name, names)}`);
  }
  if (kind === undefined || kind === wanted.type) return wanted;
  throw new ChainloopError(
    'MATERIAL_KIND_MISMATCH',
    `material '${wanted.name}': --kind ${kind} was given, and the contract asks for ${wanted.type}; leave --kind out, or change the contract`,
  );
}

async function measure(ports: AddPorts, wanted: ContractMaterial, value: string, dryRun: boolean): Promise<Measured> {
  try {
    switch (kinds[wanted.type].source) {
      case 'text':
        return { value: text(value), uploaded: false };
      case 'image':
        return await image(ports.images, value);
      case 'file':
        return await file(ports, wanted, value, dryRun);
    }
  } catch (error) {
    if (!isChainloopError(error)) throw error;
    const { code, message, problems } = error;
    // lessons.md, 11: what looks like a text is never quietly taken as one.
    const advice =
      code === 'FILE_NOT_FOUND' ? `; to record text use --kind STRING where the contract has it: it asks for ${wanted.type} here` : '';
    throw new ChainloopError(code, `material '${wanted.name}': ${message}${advice}`, { problems, cause: error });
  }
}

function text(value: string): string {
  if (value === '') throw new ChainloopError('USAGE', 'the text is empty; give one with --value');
  if (!value.isWellFormed()) throw new ChainloopError('USAGE', 'the text is not valid Unicode; give it in UTF-8');
  const sizeBytes = Buffer.byteLength(value);
  if (sizeBytes <= limits.stringValueSizeBytes) return value;
  throw new ChainloopError(
    'LIMIT_EXCEEDED',
    `the text has ${sizeBytes} bytes; the limit is ${limits.stringValueSizeBytes}, because it is carried in the attestation; make it a file and an ARTIFACT`,
  );
}

async function image(images: ImageResolver, reference: string): Promise<Measured> {
  const { repository, tag, digest, layout } = await images.resolve(reference);
  return { digest, fileName: repository, ...(tag !== undefined && { tag }), ...(layout !== undefined && { layout }), uploaded: false };
}

async function file(ports: AddPorts, wanted: ContractMaterial, path: string, dryRun: boolean): Promise<Measured> {
  await using opened = await ports.files.open(path, kinds[wanted.type].mediaType);
  assertFileName(opened.fileName);
  const summary = await checkKind(wanted.type, opened);
  const uploaded = !wanted.skipUpload && !dryRun;
  const digest = uploaded ? (await ports.evidence.upload(opened)).digest : await opened.digest();
  await opened.assertUnchanged();
  return { digest, fileName: opened.fileName, sizeBytes: opened.sizeBytes, uploaded, summary };
}

async function refuseSealed(store: CraftingStore): Promise<void> {
  const signed = (await store.sealed()) !== undefined;
  if (!signed && (await store.keptStatement()) === undefined) return;
  const what = signed ? 'signed already, and may have been delivered' : 'sealed, and waits for its signature';
  throw new ChainloopError(
    'CRAFTING_SEALED',
    `attestation: it is ${what}; send it with: chainloop attestation push, or end it with: chainloop attestation reset`,
  );
}
