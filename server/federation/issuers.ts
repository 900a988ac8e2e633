import { readFile, stat } from 'node:fs/promises';
import * as z from 'zod';
import { addressKind } from '../../core/adapters/address.ts';
import { type IssuerKind, issuerKinds } from '../../core/claims.ts';
import { schemaFindings } from '../../core/contract/findings.ts';
import { guessFormat } from '../../core/contract.ts';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import type { Finding } from '../../core/source/place.ts';
import { parseSource } from '../../core/source.ts';
import { isLoopbackHost } from '../config.ts';

/** One CI system whose tokens are believed. */
export type Issuer = {
  /** Exactly as `iss` has it. */
  readonly issuer: string;
  readonly kind: IssuerKind;
  /** Where its repositories are: `https://github.com`. */
  readonly serverUrl: string;
  /** Where its keys are, when discovery is not to be asked. */
  readonly jwksUri?: string | undefined;
  /** Plain http, and that to this machine alone. */
  readonly allowInsecure: boolean;
};

/**
 * Which addresses keys may come from. Whoever wrote a file of issuers may mean a server of the own network, or this machine; the public
 * ones are on the internet. The metadata services of clouds are no issuers, whatever a name leads to.
 */
export function keyAddresses({ own }: { readonly own: boolean }): (address: string) => boolean {
  return (address) => {
    const kind = addressKind(address);
    return kind === 'public' || (own && (kind === 'private' || kind === 'loopback'));
  };
}

/** By `iss`. Whatever else a token says, no other address is ever asked for a key. */
export type Issuers = ReadonlyMap<string, Issuer>;

const Url = z
  .string()
  .max(1024)
  .regex(/^https?:\/\/[^\s?#@]+[^\s?#@/]$/, 'must be an https URL without user, query, fragment or final slash');

const Document = z.strictObject({
  issuers: z.array(
    z.strictObject({
      issuer: Url,
      kind: z.enum(issuerKinds),
      serverUrl: Url.optional(),
      jwksUri: Url.optional(),
      allowInsecure: z.boolean().optional(),
    }),
  ),
});

const rules = { name: 'issuers', code: 'USAGE', maxBytes: limits.issuersSizeBytes, maxValues: 1_000 } as const;

/** GitHub and GitLab as they are on the internet. */
const publicIssuers = `{"issuers":[
  {"issuer":"https://token.actions.githubusercontent.com","kind":"github"},
  {"issuer":"https://gitlab.com","kind":"gitlab"}]}`;

/** The issuers of `--issuers FILE`, or the public ones. Throws USAGE with every problem and its line. */
export async function readIssuers(path: string | undefined): Promise<Issuers> {
  if (path === undefined) return parseIssuers(publicIssuers, 'json');
  let text: string;
  try {
    if ((await stat(path)).size > limits.issuersSizeBytes) throw new Error(`larger than ${limits.issuersSizeBytes} bytes`);
    text = await readFile(path, 'utf8');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'unknown';
    throw new ChainloopError('USAGE', `issuers: the file given with --issuers cannot be read: ${why}`, { cause });
  }
  return parseIssuers(text, guessFormat(path, text) === 'json' ? 'json' : 'yaml');
}

/** As `readIssuers`, of the text itself. */
export function parseIssuers(text: string, format: 'yaml' | 'json'): Issuers {
  const source = parseSource(text, format, rules);
  const malformed = [...source.findings, ...schemaFindings(Document, source.value)];
  if (malformed.length > 0) source.refuse(malformed);
  const { issuers } = Document.parse(source.value);
  const findings = issuers.flatMap((entry, index): Finding[] => {
    const path = (key: string) => ['issuers', index, key];
    const problems = (['issuer', 'jwksUri'] as const).flatMap((key) => {
      const problem = entry[key] === undefined ? undefined : insecureProblem(entry[key], entry.allowInsecure === true);
      return problem === undefined ? [] : [{ path: path(key), message: problem }];
    });
    if (entry.serverUrl === undefined && serverOf(entry.issuer, entry.kind) === undefined) {
      problems.push({ path: path('serverUrl'), message: 'is missing: where the repositories are does not follow from this issuer' });
    }
    const again = issuers.findIndex(({ issuer }) => issuer === entry.issuer) < index;
    return again ? [...problems, { path: path('issuer'), message: 'is there already; leave one of them out' }] : problems;
  });
  if (findings.length > 0) source.refuse(findings);
  return new Map(
    issuers.map(({ serverUrl, allowInsecure = false, ...rest }) => [
      rest.issuer,
      { ...rest, allowInsecure, serverUrl: serverUrl ?? serverOf(rest.issuer, rest.kind) ?? '' },
    ]),
  );
}

/** Why this address must not be asked for keys, or undefined. */
export function insecureProblem(address: string, allowInsecure: boolean): string | undefined {
  if (!URL.canParse(address)) return 'is not a URL';
  const { protocol, hostname } = new URL(address);
  if (protocol === 'https:') return undefined;
  if (protocol === 'http:' && allowInsecure && isLoopbackHost(hostname.replace(/^\[|\]$/g, ''))) return undefined;
  return 'must be https; plain http is for loopback addresses alone, and only with allowInsecure: true';
}

/**
 * Where the repositories of an issuer are, unless its entry says so. Undefined when that cannot be told: certificates name this server, and
 * a wrong one would be somebody else's.
 */
function serverOf(issuer: string, kind: IssuerKind): string | undefined {
  const { protocol, host, origin, pathname } = new URL(issuer);
  if (protocol !== 'https:') return undefined;
  if (kind === 'gitlab') return issuer;
  // GitHub Enterprise Server, and Enterprise Cloud with data residency.
  if (pathname === '/_services/token') return origin;
  const residence = /^token\.actions\.([a-z0-9-]+\.ghe\.com)$/.exec(host)?.[1];
  if (residence !== undefined) return `https://${residence}`;
  return host === 'token.actions.githubusercontent.com' ? 'https://github.com' : undefined;
}
