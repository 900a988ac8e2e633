// The crafting library: what evidence is, how an attestation of it is made, and how anybody verifies one. A table of contents.

// ── What a workflow must bring ──

export { Contract, contractDigest, contractFromValue, guessFormat, parseContract } from './contract.ts';
export { type Kind, kinds } from './material.ts';
export { MaterialType, RunnerType, RunState } from './names.ts';

// ── What it brings: the use cases of a CI job, and what they need from outside ──

export type { Added, AddOptions, AddPorts, InitOptions, InitPorts, Pushed, PushOptions, PushPorts, Status } from './attestation.ts';
export { add, init, push, reset, status } from './attestation.ts';
export type { CraftedMaterial, Crafting, CraftingStart, GitHead, RunIdentity, RunnerContext } from './crafting.ts';
export type { Clock, ControlPlane, CraftingStore, EvidenceFile, EvidenceStore, Files, Git, ImageResolver, Signer } from './ports.ts';
export { detectRunner } from './runner.ts';

// ── Whether it is enough: one answer, before signing and in the control plane ──

export { type SealedCrafting, seal, unsatisfied } from './completeness.ts';

// ── What is signed, and how it is verified ──

export { buildBundle, bundleMediaType, type ParsedBundle, parseBundle } from './bundle.ts';
export { type IdentityMatch, matchesIdentity } from './identity.ts';
export { keyHint } from './key.ts';
export { buildStatement, expectedSubjects, headOf, materialsOf, parseStatement, Statement } from './statement.ts';
export { loadTrustRoot, type Thresholds, type TrustRoot } from './trust-root.ts';
export {
  type IdentityPolicy,
  type KeyPolicy,
  type Policy,
  type TrustedKey,
  type Verified,
  type VerifiedSigner,
  verifyArtifacts,
  verifyBundle,
  verifyMessage,
} from './verify.ts';

// ── The effects: files, git, keys, registries ──

export { craftingDirectory, createCraftingStore } from './adapters/crafting-store.ts';
export { files } from './adapters/files.ts';
export { createGit } from './adapters/git.ts';
export { createKeylessSigner, type KeylessPorts } from './adapters/keyless.ts';
export { generateKeyPair, loadSigner } from './adapters/keys.ts';
export { createRegistryClient } from './adapters/oci/client.ts';
export { createEvidenceStore } from './adapters/oci/evidence-store.ts';
export { createImageResolver } from './adapters/oci/image-resolver.ts';

// ── Common ground ──

export { type Digest, digestOf, isDigest, parseDigest } from './digest.ts';
export { ChainloopError, type ErrorCode, errorTable, isChainloopError, type Problem } from './errors.ts';
export { limits } from './limits.ts';
export { formatReference, parseReference } from './reference.ts';
