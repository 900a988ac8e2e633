/**
 * What differs between registries, as far as it cannot be asked of them: their challenges say where tokens are sold, their answers whether they keep
 * referrers, and what is here may be out of date without breaking anything. docs/storage.md shows the same table (a test compares them).
 */
export type RegistryKind = {
  readonly name: string;
  /** The registry of an image reference. */
  readonly hosts: RegExp;
  /** Where its API is, if elsewhere. */
  readonly apiHost?: string;
  /** Where its tokens are sold, if elsewhere. */
  readonly tokenHost?: string;
  /** What to give as name and password, for people. */
  readonly login: string;
  /** The only names that it takes. */
  readonly usernames?: readonly string[];
  /** With this name the password ends after so many hours. */
  readonly shortLived?: { readonly username: string; readonly hours: number };
  /** Where each of this is written. */
  readonly sources: readonly string[];
};

export const registries: readonly RegistryKind[] = [
  {
    name: 'Docker Hub',
    hosts: /^docker\.io$/,
    apiHost: 'registry-1.docker.io',
    tokenHost: 'auth.docker.io',
    login: 'your Docker ID, and a personal access token',
    sources: ['https://distribution.github.io/distribution/spec/auth/token/'],
  },
  {
    name: 'GitHub (ghcr.io)',
    hosts: /^ghcr\.io$/,
    login: 'your name, and GITHUB_TOKEN or a personal access token (classic) with write:packages',
    sources: ['https://docs.github.com/en/packages/working-with-a-github-packages-registry/working-with-the-container-registry'],
  },
  {
    name: 'GitLab',
    hosts: /^registry\.gitlab\.com$/,
    tokenHost: 'gitlab.com',
    login: 'the name and the token of a deploy token with write_registry; in a job, what GitLab gives it',
    sources: ['https://github.com/oras-project/oras-go/issues/1396'],
  },
  {
    name: 'Amazon ECR',
    hosts: /^(?:\d{12}\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?|public\.ecr\.aws)$/,
    login: "AWS, and what 'aws ecr get-login-password' prints; in jobs better docker-credential-ecr-login, which renews it",
    usernames: ['AWS'],
    shortLived: { username: 'AWS', hours: 12 },
    sources: ['https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html'],
  },
  {
    name: 'Google Artifact Registry',
    hosts: /^[a-z0-9-]+-docker\.pkg\.dev$/,
    login:
      "_json_key_base64, and the key of a service account in base64; or oauth2accesstoken, and what 'gcloud auth print-access-token' prints",
    usernames: ['_json_key', '_json_key_base64', 'oauth2accesstoken'],
    shortLived: { username: 'oauth2accesstoken', hours: 1 },
    sources: [
      'https://cloud.google.com/artifact-registry/docs/docker/authentication',
      'https://docs.cloud.google.com/artifact-registry/docs/reference/docker-api',
    ],
  },
  {
    name: 'Azure Container Registry',
    hosts: /^[a-z0-9]+\.azurecr\.(?:io|cn|us)$/,
    login: 'the id of a service principal and its secret, or a token of the registry and its password',
    shortLived: { username: '00000000-0000-0000-0000-000000000000', hours: 3 },
    sources: ['https://learn.microsoft.com/en-us/azure/container-registry/container-registry-authentication'],
  },
];

/** Token servers of registries that differ in nothing else. */
const otherTokenHosts: ReadonlyMap<string, string> = new Map([
  ['registry.digitalocean.com', 'api.digitalocean.com'],
  ['docker.elastic.co', 'docker-auth.elastic.co'],
]);

/** What is known of a registry by its host, as in an image reference, or that of its API. */
export function registryKind(host: string): RegistryKind | undefined {
  return registries.find(({ hosts, apiHost }) => hosts.test(host) || apiHost === host);
}

/** Where the API of an image reference's registry is. */
export function apiHostOf(registry: string): string {
  return registryKind(registry)?.apiHost ?? registry;
}

/** The one other host that a registry is known to sell its tokens at. Any further one must be allowed explicitly. */
export function tokenHostOf(apiHost: string): string | undefined {
  return registryKind(apiHost)?.tokenHost ?? otherTokenHosts.get(apiHost);
}

/** What is wrong with a name before it is sent, or undefined. */
export function usernameProblem(registry: string, username: string): string | undefined {
  const kind = registryKind(registry);
  if (kind?.usernames === undefined || kind.usernames.includes(username)) return undefined;
  return `${kind.name} takes no user of that name; give ${kind.login}`;
}

/** After how many hours the password that goes with a name ends, where that is known. */
export function passwordHours(registry: string, username: string): number | undefined {
  const { shortLived } = registryKind(registry) ?? {};
  return shortLived?.username === username ? shortLived.hours : undefined;
}
