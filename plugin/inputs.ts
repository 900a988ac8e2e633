import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { ChainloopError, type Problem } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { type MaterialLine, parseMaterialLines } from '../core/material-lines.ts';
import { didYouMean } from '../core/nearest.ts';
import type { Env } from '../core/runner.ts';
import { printable } from '../core/source/place.ts';
import { halfOf, type SigstoreFiles } from './sigstore.ts';

export const commands = ['attest', 'init', 'add', 'push', 'status', 'reset'] as const;
export type Command = (typeof commands)[number];

/** What the step was asked to do. Everything in it is well-formed; nothing in it was compared with a contract. */
export type Inputs = {
  readonly command: Command;
  /** Empty in a dry run. */
  readonly controlPlane: string;
  readonly organization: string | undefined;
  readonly project: string | undefined;
  readonly workflow: string | undefined;
  readonly contractRevision: number | undefined;
  readonly materials: readonly MaterialLine[];
  readonly annotations: Readonly<Record<string, string>>;
  /** The run that has to be the one of this job. */
  readonly attestationId: string | undefined;
  readonly auth: 'auto' | 'oidc' | 'token';
  readonly token: string | undefined;
  readonly audience: string | undefined;
  readonly signing: 'auto' | 'keyless' | 'key' | 'sigstore';
  readonly signingKey: string | undefined;
  /** Of a Sigstore of one's own; absolute. Without them, the public one. */
  readonly sigstore: SigstoreFiles;
  /** Put the bundle on the container images too. */
  readonly attach: boolean;
  readonly onViolation: 'contract' | 'warn';
  readonly onOutage: 'fail' | 'defer';
  readonly retryTimeoutMs: number;
  readonly dryRun: boolean;
  readonly forkPr: 'skip' | 'dry-run' | 'fail';
  readonly bundlePath: string | undefined;
  readonly showSummary: boolean;
  /** What the job calls itself, for people: `build (arm64)`. */
  readonly job: string;
};

/** Lists that are too long for a workflow file. The same lines as the input. */
const defaultMaterialsFile = '.chainloop/materials';
const materialsFileSizeBytes = 1024 * 1024;
const longestRetryMs = 3_600_000;

const nameRule = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const idRule = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const annotationRule = /^[a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?$/;

/** What inputs are taken for where the CI system says more. */
export type InputsPlace = {
  readonly env: Env;
  /** The checkout. */
  readonly directory: string;
  /** What the job calls itself. */
  readonly job: string;
  /** What to write where, when nobody says where the control plane is. */
  readonly addressAdvice: string;
};

/** The inputs, each by its name through `read`. Throws USAGE with every problem of every input; nothing was sent anywhere by then. */
export function readInputs(read: (name: string) => string, { env, directory, job, addressAdvice }: InputsPlace): Inputs {
  const problems: Problem[] = [];
  const wrong = (path: string, message: string): void => void problems.push({ path, message });
  const text = (name: string): string | undefined => read(name).trim() || undefined;

  function choice<const T extends string>(name: string, allowed: readonly T[]): T {
    const given = text(name) ?? allowed[0] ?? '';
    const found = allowed.find((word) => word === given);
    if (found === undefined) wrong(name, `'${printable(given)}' is not one of ${allowed.join(', ')}${didYouMean(given, allowed)}`);
    return found ?? assertFirst(allowed);
  }

  function flag(name: string, fallback: boolean): boolean {
    const given = text(name);
    if (given === undefined) return fallback;
    // YAML 1.2 core schema, as `core.getBooleanInput` has it.
    if (/^(true|True|TRUE)$/.test(given)) return true;
    if (!/^(false|False|FALSE)$/.test(given)) wrong(name, `'${printable(given)}' is neither true nor false`);
    return false;
  }

  function named(name: string, fallback?: string): string | undefined {
    const given = text(name) ?? (fallback?.trim() || undefined);
    if (given === undefined || (given.length <= limits.nameLength && nameRule.test(given))) return given;
    wrong(name, `'${printable(given)}' is no name: at most ${limits.nameLength} lower-case letters, digits and dashes`);
    return undefined;
  }

  const command = choice('command', commands);
  const dryRun = flag('dry-run', false);
  const inputs: Inputs = {
    command,
    dryRun,
    controlPlane: controlPlane(text('control-plane') ?? env.CHAINLOOP_URL?.trim() ?? ''),
    organization: named('organization', env.CHAINLOOP_ORGANIZATION),
    project: named('project'),
    workflow: named('workflow'),
    contractRevision: revision(text('contract-revision')),
    materials: materials(),
    annotations: annotations(read('annotations')),
    attestationId: attestationId(text('attestation-id')),
    auth: choice('auth', ['auto', 'oidc', 'token']),
    token: text('token') ?? (env.CHAINLOOP_TOKEN?.trim() || undefined),
    audience: text('audience'),
    signing: choice('signing', ['auto', 'keyless', 'key', 'sigstore']),
    signingKey: text('signing-key') ?? (env.CHAINLOOP_SIGNING_KEY?.trim() || undefined),
    sigstore: { trustedRoot: path('sigstore-trusted-root'), signingConfig: path('sigstore-signing-config') },
    attach: flag('attach', false),
    onViolation: choice('on-violation', ['contract', 'warn']),
    onOutage: choice('on-outage', ['fail', 'defer']),
    retryTimeoutMs: duration(text('retry-timeout') ?? '180s'),
    forkPr: choice('fork-pr', ['skip', 'dry-run', 'fail']),
    bundlePath: text('bundle-path'),
    showSummary: flag('show-summary', true),
    job: printable(job, limits.textLength - 1),
  };
  if (inputs.auth === 'token' && inputs.token === undefined)
    wrong('token', `is empty, and auth is 'token'; is the secret set in this repository?`);
  if (inputs.signing === 'key' && inputs.signingKey === undefined)
    wrong('signing-key', `is empty, and signing is 'key'; give a path, or env://VARIABLE`);
  if ((inputs.signing === 'keyless' || inputs.signing === 'sigstore') && text('signing-key') !== undefined)
    wrong('signing-key', `is given, and signing is '${inputs.signing}'; remove one`);
  const half = halfOf(inputs.sigstore);
  if (half !== undefined) wrong(...half);
  if (inputs.signing !== 'sigstore' && text('sigstore-trusted-root') !== undefined)
    wrong('sigstore-trusted-root', `is given, and signing is not 'sigstore'; remove one`);
  if (inputs.attach && command !== 'attest' && command !== 'push')
    wrong('attach', `command '${command}' pushes nothing; use attest or push`);
  if (problems.length > 0) {
    const many = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
    throw new ChainloopError('USAGE', `inputs: ${many}; nothing was sent`, { problems });
  }
  return inputs;

  function path(name: string): string | undefined {
    const given = text(name);
    return given === undefined ? undefined : resolve(directory, given);
  }

  function controlPlane(given: string): string {
    if (given === '') {
      if (!dryRun) wrong('control-plane', `is not set, and neither is the variable CHAINLOOP_URL; ${addressAdvice}`);
      return '';
    }
    const url = URL.canParse(given) ? new URL(given) : undefined;
    if (url !== undefined && /^https?:$/.test(url.protocol) && url.pathname === '/' && url.search === '' && url.username === '')
      return url.origin;
    wrong('control-plane', 'is not an origin such as https://chainloop.example.com');
    return '';
  }

  function revision(given: string | undefined): number | undefined {
    if (given === undefined || given === 'latest') return undefined;
    if (/^[1-9]\d{0,8}$/.test(given)) return Number(given);
    wrong('contract-revision', `'${printable(given)}' is not a number from 1 on, nor 'latest'`);
    return undefined;
  }

  function attestationId(given: string | undefined): string | undefined {
    if (given === undefined || idRule.test(given)) return given;
    wrong('attestation-id', `'${printable(given)}' is not the id of a run; it is the output attestation-id of another step`);
    return undefined;
  }

  function duration(given: string): number {
    const [, amount, unit = 's'] = /^(\d{1,6})\s*(ms|s|m)?$/.exec(given) ?? [];
    const factor = unit === 'ms' ? 1 : unit === 'm' ? 60_000 : 1000;
    const ms = amount === undefined ? Number.NaN : Number(amount) * factor;
    if (ms <= longestRetryMs) return ms;
    wrong('retry-timeout', `'${printable(given)}' is not a time such as 180s or 3m, of at most 60m`);
    return 0;
  }

  function annotations(given: string): Record<string, string> {
    const found: Record<string, string> = {};
    for (const [index, written] of given.split(/\r?\n/).entries()) {
      const line = written.trim();
      if (line === '' || line.startsWith('#')) continue;
      const [key = '', ...rest] = line.split('=');
      const value = rest.join('=').trim();
      const where = `line ${index + 1}`;
      if (rest.length === 0 || !annotationRule.test(key.trim())) wrong('annotations', `${where}: '${printable(line)}' is not KEY=VALUE`);
      else if (value === '') wrong('annotations', `${where}: '${key.trim()}' has no value; is the expression that it comes from empty?`);
      else if (Object.hasOwn(found, key.trim())) wrong('annotations', `${where}: '${key.trim()}' is given twice`);
      else if (Buffer.byteLength(value) > limits.stringValueSizeBytes)
        wrong('annotations', `${where}: more than ${limits.stringValueSizeBytes} bytes`);
      else found[key.trim()] = value;
    }
    if (Object.keys(found).length > limits.annotations) wrong('annotations', `more than ${limits.annotations}`);
    return found;
  }

  function materials(): readonly MaterialLine[] {
    const given = read('materials');
    if (command !== 'attest' && command !== 'add') {
      if (given.trim() !== '') wrong('materials', `command '${command}' takes none; use attest or add`);
      return [];
    }
    const parsed = parseMaterialLines([{ text: given }, ...materialsFile()]);
    problems.push(...parsed.problems.map((problem) => ({ path: 'materials', ...problem })));
    if (command === 'add' && parsed.lines.length === 0 && parsed.problems.length === 0)
      wrong('materials', 'is empty; give lines NAME=VALUE');
    return parsed.lines;
  }

  function materialsFile(): readonly { readonly text: string; readonly file: string }[] {
    const asked = text('materials-file');
    const path = resolve(directory, asked ?? defaultMaterialsFile);
    if (asked === undefined && !existsSync(path)) return [];
    try {
      const bytes = readFileSync(path);
      if (bytes.length <= materialsFileSizeBytes) return [{ text: bytes.toString('utf8'), file: asked ?? defaultMaterialsFile }];
      wrong('materials-file', `has more than ${materialsFileSizeBytes} bytes`);
    } catch {
      wrong('materials-file', `'${printable(asked ?? defaultMaterialsFile)}' cannot be read; is it there, after the checkout?`);
    }
    return [];
  }
}

/** Tells the attestations of several workflows in one job apart. Steps without a name go on with what any step began. */
export function attestationName({ project, workflow }: Pick<Inputs, 'project' | 'workflow'>): string {
  return [project, workflow].filter((name) => name !== undefined).join('/');
}

function assertFirst<T>([first]: readonly T[]): T {
  if (first === undefined) throw new Error('there is nothing to choose from');
  return first;
}
