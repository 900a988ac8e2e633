import { ChainloopError } from '../../errors.ts';
import { formatReference, type Reference } from '../../reference.ts';
import { isLoopbackHost } from '../address.ts';
import { type Credentials, tokenHostsOf } from './auth.ts';
import { createRegistryClient, type RegistryClient } from './client.ts';
import { dockerCredentials } from './docker-config.ts';
import { apiHostOf, registryKind } from './registries.ts';
import type { FetchPolicy } from './session.ts';

/** How the registries of images are reached, with the job's own credentials. */
export type ImageRegistryOptions = {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Win over CHAINLOOP_REGISTRY_USERNAME and CHAINLOOP_REGISTRY_PASSWORD, and these over the Docker configuration. */
  readonly registryUsername?: string | undefined;
  readonly registryPassword?: string | undefined;
  readonly fetchPolicy?: Partial<FetchPolicy> | undefined;
};

/** The registries that the images of one command are in. */
export type ImageRegistries = {
  /** A client for the repository of an image; to be closed. USAGE, and what the Docker configuration leads to. */
  open(reference: Reference): Promise<RegistryClient>;
};

export function createImageRegistries(options: ImageRegistryOptions): ImageRegistries {
  const { env } = options;
  const given = givenCredentials(options);
  /** What was given is for one registry, and not shown to another. */
  let givenTo: string | undefined;

  async function credentialsFor(registry: string): Promise<Credentials> {
    const credentials = given();
    if (credentials === undefined) {
      const found = await dockerCredentials(registry, env);
      return found.type === 'anonymous' ? (gitlabRegistry(registry, env)?.credentials ?? found) : found;
    }
    givenTo ??= registry;
    if (givenTo === registry) return credentials;
    throw new ChainloopError(
      'USAGE',
      `registry ${registry}: the name and password that were given are for ${givenTo}; leave them out, and log in to both with: docker login`,
    );
  }

  return {
    async open(reference) {
      const { registry, repository } = reference;
      const host = apiHostOf(registry);
      const login = registryKind(registry)?.login;
      const url = URL.parse(`https://${host}`);
      if (url === null) throw new ChainloopError('USAGE', `image ${formatReference(reference)}: '${registry}' is not a registry host`);
      const scheme = isLoopbackHost(url.hostname) ? 'http' : 'https';
      return createRegistryClient({
        origin: `${scheme}://${host}`,
        repository,
        credentials: await credentialsFor(registry),
        fetchPolicy: options.fetchPolicy,
        tokenHosts: [...tokenHostsOf(env), ...(gitlabRegistry(registry, env)?.tokenHosts ?? [])],
        advice: `log in with: docker login ${registry}, or give --registry-username and --registry-password${login === undefined ? '' : ` (${login})`}`,
      });
    },
  };
}

function givenCredentials({ env, registryUsername, registryPassword }: ImageRegistryOptions): () => Credentials | undefined {
  const username = registryUsername ?? (env.CHAINLOOP_REGISTRY_USERNAME || undefined);
  const password = registryPassword ?? (env.CHAINLOOP_REGISTRY_PASSWORD || undefined);
  return () => {
    if (username === undefined && password === undefined) return undefined;
    if (username !== undefined && password !== undefined) return { type: 'basic', username, password };
    throw new ChainloopError(
      'USAGE',
      'registry credentials: a name and a password belong together; give both --registry-username and --registry-password, or CHAINLOOP_REGISTRY_USERNAME and CHAINLOOP_REGISTRY_PASSWORD',
    );
  };
}

/** What a job of GitLab is given for the registry of its project, and who issues its tokens (GitLab, "Predefined CI/CD variables reference"). */
function gitlabRegistry(
  registry: string,
  { GITLAB_CI, CI_REGISTRY, CI_REGISTRY_USER: username, CI_REGISTRY_PASSWORD: password, CI_SERVER_HOST }: ImageRegistryOptions['env'],
): { readonly credentials: Credentials; readonly tokenHosts: readonly string[] } | undefined {
  if (GITLAB_CI !== 'true' || registry !== CI_REGISTRY || !username || !password) return undefined;
  return { credentials: { type: 'basic', username, password }, tokenHosts: CI_SERVER_HOST ? [CI_SERVER_HOST] : [] };
}
