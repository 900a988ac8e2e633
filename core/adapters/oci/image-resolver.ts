import type { Digest } from '../../digest.ts';
import { ChainloopError } from '../../errors.ts';
import type { ImageResolver } from '../../ports.ts';
import { formatReference, parseReference, type Reference } from '../../reference.ts';
import { isLoopbackHost } from '../address.ts';
import { type Credentials, tokenHostsOf } from './auth.ts';
import { createRegistryClient, type RegistryClient } from './client.ts';
import { dockerCredentials } from './docker-config.ts';
import { parseLayoutReference, resolveInLayout } from './image-layout.ts';
import { manifestTypes } from './manifests.ts';
import type { FetchPolicy } from './session.ts';

export type ImageResolverOptions = {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Win over the Docker configuration. */
  readonly registryUsername?: string | undefined;
  readonly registryPassword?: string | undefined;
  readonly fetchPolicy?: Partial<FetchPolicy> | undefined;
};

/** The API of Docker Hub lives on another host than its name. */
const dockerHubHost = 'registry-1.docker.io';

/**
 * Resolves references in registries, with the credentials that Docker has, or GitLab gave to the job, and in OCI layout folders (`oci:DIR[:TAG]`, or a path).
 * What a reference with a digest says must exist. Registries on this machine speak http, all others https. IMAGE_NOT_FOUND, USAGE,
 * REGISTRY_UNAUTHORIZED and the other errors of the registry client.
 */
export function createImageResolver(options: ImageResolverOptions): ImageResolver {
  return {
    async resolve(text) {
      const layout = await parseLayoutReference(text);
      if (layout !== undefined) return resolveInLayout(layout);
      const reference = parseReference(text);
      const client = await clientFor(reference, options);
      try {
        const { digest, mediaType } = await resolveInRegistry(client, reference);
        return {
          repository: `${reference.registry}/${reference.repository}`,
          digest,
          mediaType,
          ...(reference.tag === undefined ? {} : { tag: reference.tag }),
        };
      } finally {
        client.close();
      }
    },
  };
}

async function clientFor(reference: Reference, options: ImageResolverOptions): Promise<RegistryClient> {
  const { registry, repository } = reference;
  const host = registry === 'docker.io' ? dockerHubHost : registry;
  const url = URL.parse(`https://${host}`);
  if (url === null) throw new ChainloopError('USAGE', `image ${formatReference(reference)}: '${registry}' is not a registry host`);
  const scheme = isLoopbackHost(url.hostname) ? 'http' : 'https';
  return createRegistryClient({
    origin: `${scheme}://${host}`,
    repository,
    credentials: await credentialsFor(registry, options),
    fetchPolicy: options.fetchPolicy,
    tokenHosts: [...tokenHostsOf(options.env), ...(gitlabRegistry(registry, options.env)?.tokenHosts ?? [])],
    advice: `log in with: docker login ${registry}, or give --registry-username and --registry-password`,
  });
}

async function credentialsFor(registry: string, options: ImageResolverOptions): Promise<Credentials> {
  const { registryUsername: username, registryPassword: password } = options;
  if (username === undefined && password === undefined) {
    const found = await dockerCredentials(registry, options.env);
    return found.type === 'anonymous' ? (gitlabRegistry(registry, options.env)?.credentials ?? found) : found;
  }
  if (username === undefined || password === undefined)
    throw new ChainloopError('USAGE', 'registry credentials: --registry-username and --registry-password belong together; give both');
  return { type: 'basic', username, password };
}

/** What a job of GitLab is given for the registry of its project, and who issues its tokens (GitLab, "Predefined CI/CD variables reference"). */
function gitlabRegistry(
  registry: string,
  { GITLAB_CI, CI_REGISTRY, CI_REGISTRY_USER: username, CI_REGISTRY_PASSWORD: password, CI_SERVER_HOST }: ImageResolverOptions['env'],
): { readonly credentials: Credentials; readonly tokenHosts: readonly string[] } | undefined {
  if (GITLAB_CI !== 'true' || registry !== CI_REGISTRY || !username || !password) return undefined;
  return { credentials: { type: 'basic', username, password }, tokenHosts: CI_SERVER_HOST ? [CI_SERVER_HOST] : [] };
}

/**
 * HEAD first, which Docker Hub does not count as a pull; then the manifest itself by that digest, so that the digest is of bytes that
 * were seen. Registries that answer HEAD without a digest are asked with GET alone.
 */
async function resolveInRegistry(client: RegistryClient, reference: Reference): Promise<{ digest: Digest; mediaType: string }> {
  const name = reference.digest ?? reference.tag ?? 'latest';
  const head = await client.headManifest(name);
  const manifest = head === undefined ? undefined : await client.getManifest(reference.digest ?? head.digest ?? name);
  if (manifest === undefined)
    throw new ChainloopError(
      'IMAGE_NOT_FOUND',
      `image ${formatReference(reference)}: the registry has no such image; check name and tag, and that it was pushed`,
    );
  const known: readonly string[] = manifestTypes;
  if (!known.includes(manifest.mediaType))
    throw new ChainloopError(
      'IMAGE_NOT_FOUND',
      `image ${formatReference(reference)}: its type ${manifest.mediaType.slice(0, 100)} is no image or image index; push it again with a current tool`,
    );
  return { digest: manifest.digest, mediaType: manifest.mediaType };
}
