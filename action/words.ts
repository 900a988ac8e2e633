import type { Crafting } from '../core/crafting.ts';
import type { ChainloopError, ErrorCode, Problem } from '../core/errors.ts';
import { withoutSecrets } from '../core/redact.ts';
import { missing } from './outcome.ts';

// What is said about a failure. The errors of core/ and client/ speak to somebody at a command line; here, the reader edits a workflow file.

const replacements: readonly (readonly [RegExp, string])[] = [
  [/add (?:it|one)(?: again)? with: chainloop attestation add --name (\S+) --value (<\w+>)/g, 'add to materials: $1=$2'],
  [/replace it with: chainloop attestation add --name (\S+) --value (<\w+>)/g, 'replace it in materials: $1=$2'],
  [/give it with: chainloop attestation push --annotation (\S+)/g, 'add to annotations: $1'],
  [/; set it before: chainloop attestation init/g, '; set it in env of this job'],
  [/; shorten it before: chainloop attestation init/g, '; shorten it in env of this job'],
  [/choose one with --organization, --project and --workflow/g, 'choose one with the inputs organization, project and workflow'],
  [/leave --contract-revision out/g, 'leave the input contract-revision out'],
  [/; to record text use --kind STRING \(([^)]*)\)/g, ' ($1)'],
  [/(start|begin) (one|it) with: chainloop attestation init/g, '$1 $2 with command: init, or with command: attest'],
  [/; forget it here with: chainloop attestation reset/g, ''],
  [/sign with --key/g, 'sign with signing: key'],
  [/correct CHAINLOOP_URL/g, 'correct control-plane'],
  [/is CHAINLOOP_URL right/g, 'is control-plane right'],
  [/set CHAINLOOP_URL/g, 'set control-plane'],
];

/** The same in terms of the action's inputs, without what looks like a credential. */
export function inputTerms(message: string): string {
  return replacements.reduce((text, [pattern, words]) => text.replace(pattern, words), withoutSecrets(message));
}

/** `materials line 3: …`: where it is, and what. */
export function problemLine({ file, line, path, message }: Problem): string {
  const input = file ?? path;
  const place = line === undefined ? input : `${input ?? 'materials'} line ${line}`;
  const text = inputTerms(message);
  return place === undefined || text.includes(`"${place}"`) || text.startsWith(`material '${place}'`) ? text : `${place}: ${text}`;
}

const titles: Partial<Record<ErrorCode, string>> = {
  USAGE: 'inputs are not right',
  UNAUTHENTICATED: 'this job may not say who it is',
  TOKEN_EXPIRED: 'the token has expired',
  TOKEN_REVOKED: 'the token was revoked',
  NO_BINDING: 'no binding lets this job in',
  FORBIDDEN: 'not allowed',
  CONFLICT: 'conflict',
  RUN_ALREADY_FINISHED: 'already finished',
  RUN_EXPIRED: 'the run has expired',
  CONTROL_PLANE_UNREACHABLE: 'control plane unreachable',
  STORAGE_UNAVAILABLE: 'evidence storage unavailable',
  REGISTRY_UNAVAILABLE: 'registry unavailable',
  RATE_LIMITED: 'too many requests',
  POLICY_NOT_SATISFIED: 'a policy refused the run',
  NO_CRAFTING: 'nothing to attest',
};

/** What people see first. */
export function titleOf(error: ChainloopError, contract: string | undefined): string {
  const unsatisfied = error.code === 'CONTRACT_NOT_SATISFIED' || error.code === 'RUNNER_MISMATCH';
  if (unsatisfied) return contract === undefined ? 'Chainloop: contract not satisfied' : `Chainloop: contract "${contract}" not satisfied`;
  if (error.code.startsWith('MATERIAL_') || error.problems.some(({ path, line }) => path !== undefined && line !== undefined))
    return 'Chainloop: materials are not right';
  return `Chainloop: ${titles[error.code] ?? 'failed'}`;
}

/** The message and every problem, one under the other; what is missing of a contract comes first, and once. */
export function messageOf(error: ChainloopError, crafting: Crafting | undefined): string {
  const absent = error.code === 'CONTRACT_NOT_SATISFIED' && crafting !== undefined ? missing(crafting) : [];
  if (absent.length === 0) {
    const said = inputTerms(error.message);
    const problems = error.problems.filter(({ message }) => !error.message.includes(message));
    return [said, ...problems.map(problemLine)].join('\n');
  }
  const names = new Set(
    absent.flatMap(({ name, group }) => [`material '${name}'`, ...(group === undefined ? [] : [`(group '${group}')`])]),
  );
  const others = error.problems.filter(({ message }) => ![...names].some((name) => message.includes(name)));
  return [`missing: ${absent.map(({ name, type }) => `${name} (${type})`).join(', ')}`, ...others.map(problemLine)].join('\n');
}
