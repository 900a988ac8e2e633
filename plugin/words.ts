import type { ContractMaterial } from '../core/contract.ts';
import type { ChainloopError, ErrorCode, Problem } from '../core/errors.ts';
import { withoutSecrets } from '../core/redact.ts';
import { type Found, unbrought } from './outcome.ts';

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
  [/start a new one with: chainloop attestation init/g, 'run the workflow again for a new one'],
  [/; forget it here with: chainloop attestation reset/g, ''],
  [/sign with --key/g, 'sign with signing: key'],
  [/give --signing (\w+)/g, 'set signing: $1'],
  [/leave --key and CHAINLOOP_SIGNING_KEY out/g, 'leave signing-key and CHAINLOOP_SIGNING_KEY out'],
  [/give the private key with --key FILE/g, 'give the private key with signing-key'],
  [/correct CHAINLOOP_URL/g, 'correct control-plane'],
  [/is CHAINLOOP_URL right/g, 'is control-plane right'],
  [/set CHAINLOOP_URL/g, 'set control-plane'],
];

/** The same in terms of the action's inputs, without what looks like a credential. */
export function inputTerms(message: string): string {
  return replacements.reduce((text, [pattern, words]) => text.replace(pattern, words), withoutSecrets(message));
}

/** `materials line 3: …`, `workflow: …`: where it is, and what. */
export function problemLine({ file, line, path, message }: Problem): string {
  const text = inputTerms(message);
  if (line !== undefined) return `${file ?? 'materials'} line ${line}: ${text}`;
  return path === undefined || text.startsWith('material ') ? text : `${path}: ${text}`;
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
  REGISTRY_UNAVAILABLE: 'registry or evidence storage unavailable',
  STATEMENT_MISMATCH: 'this is not about the CI run',
  RATE_LIMITED: 'too many requests',
  POLICY_NOT_SATISFIED: 'a policy refused the run',
  NO_CRAFTING: 'nothing to attest',
};

/** What people see first. */
export function titleOf(error: ChainloopError, contract: string | undefined): string {
  const unsatisfied = error.code === 'CONTRACT_NOT_SATISFIED' || error.code === 'RUNNER_MISMATCH';
  if (unsatisfied) return contract === undefined ? 'Chainloop: contract not satisfied' : `Chainloop: contract "${contract}" not satisfied`;
  if (error.problems.length > 0 && error.problems.every(({ line }) => line !== undefined)) return 'Chainloop: materials are not right';
  return `Chainloop: ${titles[error.code] ?? 'failed'}`;
}

/** The message and every problem, one under the other; what is missing of a contract comes first, and once. */
export function messageOf(error: ChainloopError, found: Found): string {
  const absent = lacking(error, found);
  const first =
    absent.length === 0 ? inputTerms(error.message) : `missing: ${absent.map(({ name, type }) => `${name} (${type})`).join(', ')}`;
  return [first, ...otherProblems(error, found).map(problemLine)].join('\n');
}

/** The problems that neither the message of the error nor the list of what is missing says already. */
export function otherProblems(error: ChainloopError, found: Found): readonly Problem[] {
  const said = lacking(error, found).flatMap(inProblems);
  const first = said.length === 0 ? error.message : '';
  return error.problems.filter(({ message }) => !first.includes(message) && !said.some((words) => message.includes(words)));
}

/** Why a run failed, in one line. */
export function reasonOf(error: ChainloopError, found: Found): string {
  const absent = lacking(error, found);
  if (absent.length > 0) return `missing ${absent.map(({ name }) => name).join(', ')}`;
  const [problem, ...others] = otherProblems(error, found);
  return problem === undefined
    ? inputTerms(error.message)
    : `${problemLine(problem)}${others.length === 0 ? '' : `, and ${others.length} more`}`;
}

/** What the contract asks for and nobody brought, when that is what is wrong: what is fixed at the beginning is judged before anything comes. */
export function lacking(error: ChainloopError | undefined, found: Found): readonly ContractMaterial[] {
  if (error?.code !== 'CONTRACT_NOT_SATISFIED') return [];
  const absent = unbrought(found);
  const words = absent.flatMap(inProblems);
  return error.problems.some(({ message }) => words.some((said) => message.includes(said))) ? absent : [];
}

/** How core/completeness.ts says that a material is not there. */
function inProblems({ name, group }: ContractMaterial): readonly string[] {
  return [`material '${name}' is required`, ...(group === undefined ? [] : [`(group '${group}') is required`])];
}
