import { type Digest, isDigest } from './digest.ts';
import { ChainloopError } from './errors.ts';

/** An image reference after normalisation: `docker.io/library/alpine`, never `alpine`. */
export type Reference = {
  /** Host and, when given, port: `ghcr.io`, `localhost:5000`, `[::1]:5000`. */
  readonly registry: string;
  /** Path inside the registry: `acme/app`. */
  readonly repository: string;
  readonly tag?: string | undefined;
  readonly digest?: Digest | undefined;
};

// The grammar of the distribution project (package `reference`): domain, path components, tag.
const label = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const domainPattern = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[0-9a-fA-F:]+\\])(?::[0-9]{1,5})?$`);
const componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const nameLength = 255;
const dockerHub = 'docker.io';

/**
 * Parses `[registry/]repository[:tag][@digest]`. A first component without dot, colon or capital that is not `localhost` is no
 * registry but part of a Docker Hub repository. Throws USAGE, saying which part is wrong. Digests other than SHA-256 are refused.
 */
export function parseReference(text: string): Reference {
  const refuse = (problem: string) =>
    new ChainloopError('USAGE', `image reference '${printable(text)}': ${problem}; write [registry/]repository[:tag][@sha256:<hex>]`);
  if (text === '') throw refuse('it is empty');
  if (text.length > 2 * nameLength + 300) throw refuse('it is too long');
  if (text.includes('://')) throw refuse('it must not be a URL');

  const at = text.indexOf('@');
  const digest = at === -1 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) throw refuse(`the digest '${printable(digest)}' is not sha256:<64 lower-case hex digits>`);
  const named = at === -1 ? text : text.slice(0, at);

  // A colon after the last slash begins the tag; one before it belongs to a port.
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1);
  const tag = colon === -1 ? undefined : named.slice(colon + 1);
  if (tag !== undefined && !tagPattern.test(tag))
    throw refuse(`the tag '${printable(tag)}' is not 1 to 128 letters, digits, '_', '.' or '-'`);
  const name = colon === -1 ? named : named.slice(0, colon);

  const { registry, repository } = splitName(name);
  if (!domainPattern.test(registry)) throw refuse(`'${printable(registry)}' is not a registry host`);
  for (const component of repository.split('/')) {
    if (componentPattern.test(component)) continue;
    if (component.toLowerCase() !== component) throw refuse(`the repository '${printable(repository)}' must be in lower case`);
    throw refuse(`'${printable(component)}' is not a valid part of a repository name`);
  }
  if (registry.length + 1 + repository.length > nameLength) throw refuse(`the name is longer than ${nameLength} characters`);
  if (registry === dockerHub && /^library\/[0-9a-f]{64}$/.test(repository) && tag === undefined && digest === undefined)
    throw refuse('64 hex digits are an image id, which no registry knows');
  return { registry, repository, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

/** True for the path of a repository, without registry: `acme/app`. */
export function isRepository(text: string): boolean {
  return text.length <= nameLength && text.split('/').every((component) => componentPattern.test(component));
}

/** True for a tag. */
export function isTag(text: string): boolean {
  return tagPattern.test(text);
}

/** The reference as text, fully qualified; `parseReference` of it gives the same again. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`;
  return `${reference.registry}/${reference.repository}${tag}${digest}`;
}

function splitName(name: string): { registry: string; repository: string } {
  const slash = name.indexOf('/');
  const first = slash === -1 ? '' : name.slice(0, slash);
  const isRegistry = /[.:A-Z[]/.test(first) || first === 'localhost';
  const registry = !isRegistry || first === 'index.docker.io' ? dockerHub : first;
  const repository = isRegistry ? name.slice(slash + 1) : name;
  return { registry, repository: registry === dockerHub && !repository.includes('/') ? `library/${repository}` : repository };
}

/** The text as it may stand in a message: short, without control characters, and without what may be a password before an `@`. */
function printable(text: string): string {
  const withoutUserinfo = text.replace(/\/\/[^/@]*@/, '//');
  return withoutUserinfo.replace(/[^\x20-\x7e]/g, '?').slice(0, 200);
}
