import { missingAnnotations, wrongAnnotations } from './annotations.ts';
import type { Contract, ContractMaterial, SigningWay } from './contract.ts';
import type { CraftedMaterial, Crafting, RunnerContext } from './crafting.ts';
import { ChainloopError, type Problem } from './errors.ts';
import { limits } from './limits.ts';
import { didYouMean } from './nearest.ts';
import { displayRunnerType, runnerVariables } from './runner.ts';
import { printable } from './source/place.ts';
import { expectedSubjects } from './statement/subjects.ts';

/** What was brought for a contract: by a crafting, or by a statement that the control plane reads. */
export type Found = {
  readonly materials: readonly CraftedMaterial[];
  readonly runner: Pick<RunnerContext, 'type'>;
  readonly env: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Nothing is uploaded in a dry run. */
  readonly dryRun?: boolean | undefined;
};

/** A crafting that brings what its contract asks for: the only thing that a statement is made of. `seal` makes it. */
export type SealedCrafting = Crafting & { readonly type: 'sealed' };

/**
 * Everything that keeps the evidence from satisfying the contract, each with what to do; empty when it does. The same function decides
 * before signing and, from the signed bytes, in the control plane (trust.md, check 6).
 */
export function unsatisfied(contract: Contract, found: Found): Problem[] {
  return [
    ...runnerProblems(contract, found.runner),
    ...envProblems(contract, found.env),
    ...contract.materials.flatMap((wanted) => materialProblems(wanted, found)),
    ...groupProblems(contract, found.materials),
    ...unknownMaterials(contract, found.materials),
    ...wrongAnnotations('attestation', contract.annotations, found.annotations),
    ...missingAnnotations(
      'attestation',
      contract.annotations,
      found.annotations,
      (name) => `give it with: chainloop attestation push --annotation ${name}=<value>`,
    ),
  ];
}

/** Variables that neither the contract nor the CI system asks for: nobody may make a job hand them over, or take them in. */
export function surplusVariables(contract: Pick<Contract, 'envAllowList'>, { runner, env }: Pick<Found, 'runner' | 'env'>): Problem[] {
  const allowed = new Set([...contract.envAllowList, ...runnerVariables(runner.type)]);
  return Object.keys(env)
    .filter((name) => !allowed.has(name))
    .map((name) => ({ message: `variable '${printable(name)}' is neither in envAllowList nor one of the runner; leave it out` }));
}

/** Of those, what is fixed when an attestation begins, and cannot be made good later: the runner and the variables. */
export function unstartable(contract: Contract, found: Pick<Found, 'runner' | 'env' | 'annotations'>): Problem[] {
  return [
    ...runnerProblems(contract, found.runner),
    ...envProblems(contract, found.env),
    ...wrongAnnotations('attestation', contract.annotations, found.annotations),
  ];
}

/** The error for what is unsatisfied: RUNNER_MISMATCH when the runner is, else CONTRACT_NOT_SATISFIED; with all problems. */
export function notSatisfied(contract: Contract, found: Pick<Found, 'runner'>, problems: readonly Problem[]): ChainloopError {
  const code = runnerProblems(contract, found.runner).length > 0 ? 'RUNNER_MISMATCH' : 'CONTRACT_NOT_SATISFIED';
  const [first] = problems;
  const detail = problems.length === 1 && first !== undefined ? first.message : `not satisfied, ${problems.length} problems`;
  return new ChainloopError(code, `contract: ${detail}`, { problems: problems.slice(0, limits.problems) });
}

/** The crafting, complete. Throws RUNNER_MISMATCH or CONTRACT_NOT_SATISFIED with everything that is missing or wrong. */
export function seal(crafting: Crafting): SealedCrafting {
  const { start, materials } = crafting;
  const problems = openProblems(crafting);
  if (problems.length > 0) throw notSatisfied(start.contract, start, problems);
  return { start, materials, type: 'sealed' };
}

/** What keeps a crafting from being sealed now. */
export function openProblems(crafting: Crafting): Problem[] {
  const { start, materials } = crafting;
  const { contract, runner, env, annotations, dryRun, head } = start;
  const problems = unsatisfied(contract, { materials, runner, env, annotations, dryRun });
  if (problems.length > 0 || expectedSubjects(materials, contract, head).length > 0) return problems;
  // in-toto Statement v1, subject: without one, the attestation is about nothing, and other verifiers refuse it.
  const outputs = contract.materials.filter((material) => material.output).map((material) => `'${material.name}'`);
  const remedy =
    outputs.length === 0 ? 'mark a material of the contract with output: true' : `add an output material (${outputs.join(', ')})`;
  return [{ message: `there is nothing to attest to: no output material, and the folder is not a git checkout; ${remedy}` }];
}

function runnerProblems(contract: Contract, runner: Found['runner']): Problem[] {
  const wanted = contract.runner?.type;
  if (wanted === undefined || wanted === runner.type) return [];
  const here =
    runner.type === undefined ? 'no CI system was recognised here' : `this is ${runner.type} (${displayRunnerType(runner.type)})`;
  return [{ message: `runner: the contract asks for ${wanted}; ${here}; run the job there, or change runner.type of the contract` }];
}

function envProblems(contract: Contract, env: Found['env']): Problem[] {
  return contract.envAllowList.flatMap((name) => {
    const value = Object.hasOwn(env, name) ? env[name] : undefined;
    if (value === undefined || value === '') {
      return [{ message: `variable '${name}' is required (envAllowList), and is not set; set it before: chainloop attestation init` }];
    }
    return Buffer.byteLength(value) > limits.envValueSizeBytes
      ? [{ message: `variable '${name}' is larger than ${limits.envValueSizeBytes} bytes; shorten it before: chainloop attestation init` }]
      : [];
  });
}

function materialProblems(wanted: ContractMaterial, found: Found): Problem[] {
  const { name, type } = wanted;
  const what = `material '${name}'`;
  const command = addCommand(wanted);
  const [material, ...twins] = found.materials.filter((candidate) => candidate.name === name);
  if (material === undefined) {
    return wanted.optional || wanted.group !== undefined ? [] : [{ message: `${what} is required; add it with: ${command}` }];
  }
  if (twins.length > 0) return [{ message: `${what} is there ${twins.length + 1} times; one is expected` }];
  if (material.type !== type)
    return [{ message: `${what} is of kind ${material.type}; the contract asks for ${type}; replace it with: ${command}` }];
  if (!isMeasured(material)) return [{ message: `${what} is not measured: ${measure(type)} is missing; add it again with: ${command}` }];
  return [
    ...uploadProblems(wanted, material, found.dryRun === true),
    ...wrongAnnotations(what, wanted.annotations, material.annotations),
    ...missingAnnotations(what, wanted.annotations, material.annotations, (key) => `add it with: ${command} --annotation ${key}=<value>`),
  ];
}

/** Bytes go to storage, unless the contract wants the digest only: then they must not. */
function uploadProblems(wanted: ContractMaterial, material: CraftedMaterial, dryRun: boolean): Problem[] {
  const what = `material '${wanted.name}'`;
  const expected = isFile(wanted.type) && !wanted.skipUpload && !dryRun;
  if (material.uploaded === expected) return [];
  return [
    {
      message: expected
        ? `${what} was not uploaded; add it again with: ${addCommand(wanted)}`
        : `${what} was uploaded, and the contract asks for its digest only; add it again with: ${addCommand(wanted)}`,
    },
  ];
}

function groupProblems(contract: Contract, materials: Found['materials']): Problem[] {
  const names = new Set(materials.map((material) => material.name));
  return [...Map.groupBy(contract.materials, (material) => material.group)].flatMap(([group, members]) => {
    const [first] = members;
    if (group === undefined || first === undefined || members.some((member) => names.has(member.name))) return [];
    const list = members.map((member) => `'${member.name}'`).join(', ');
    return [{ message: `one of ${list} (group '${group}') is required; add one with: ${addCommand(first)}` }];
  });
}

function unknownMaterials(contract: Contract, materials: Found['materials']): Problem[] {
  const names = contract.materials.map((material) => material.name);
  return materials
    .filter((material) => !names.includes(material.name))
    .map(({ name }) => ({ message: `the contract has no material '${printable(name)}'${didYouMean(name, names)}` }));
}

/** The command that brings a material. */
function addCommand(material: Pick<ContractMaterial, 'name' | 'type'>): string {
  return `chainloop attestation add --name ${material.name} --value ${placeholder(material.type)}`;
}

function placeholder(type: ContractMaterial['type']): string {
  if (isFile(type)) return '<path>';
  return type === 'STRING' ? '<text>' : '<image>';
}

function isFile(type: ContractMaterial['type']): boolean {
  return type !== 'STRING' && type !== 'CONTAINER_IMAGE';
}

function isMeasured(material: CraftedMaterial): boolean {
  if (material.type === 'STRING') return material.value !== undefined && material.value !== '';
  return material.digest !== undefined && material.fileName !== undefined && (!isFile(material.type) || material.sizeBytes !== undefined);
}

function measure(type: ContractMaterial['type']): string {
  if (isFile(type)) return 'its digest, file name or size';
  return type === 'STRING' ? 'its text' : 'its digest or repository';
}

/** Whether a contract takes an attestation that is signed so. What is signed with Sigstore is keyless too. */
export function acceptsSigning({ signing }: Pick<Contract, 'signing'>, way: SigningWay): boolean {
  return signing === undefined || signing.includes(way) || (way === 'sigstore' && signing.includes('keyless'));
}
