// The words of the product, without the schemas: what shows a list of them need not load zod.

/** The kinds of evidence: what a contract may ask for. One row each in core/material/. */
export const materialTypes = ['STRING', 'ARTIFACT', 'CONTAINER_IMAGE', 'EVIDENCE', 'SBOM_CYCLONEDX_JSON', 'SBOM_SPDX_JSON'] as const;

/** The CI systems that are recognised: what a contract may ask for. */
export const runnerTypes = [
  'GITHUB_ACTION',
  'GITLAB_PIPELINE',
  'AZURE_PIPELINE',
  'JENKINS_JOB',
  'CIRCLECI_BUILD',
  'TEAMCITY_PIPELINE',
  'BUILDKITE_PIPELINE',
  'BITBUCKET_PIPELINE',
  'TEKTON_PIPELINE',
] as const;

/** The states of a run. `initialized` goes to one of the others, once; there is no other arrow. */
export const runStates = ['initialized', 'success', 'failed', 'cancelled', 'expired'] as const;

/** Variables that hold credentials: none of them is ever recorded, whatever a contract asks for. */
export const credentialVariables: readonly string[] = [
  'CHAINLOOP_TOKEN',
  'CHAINLOOP_ID_TOKEN',
  'SIGSTORE_ID_TOKEN',
  'CHAINLOOP_SIGNING_KEY',
  'CHAINLOOP_SIGNING_PASSWORD',
  'CHAINLOOP_REGISTRY_PASSWORD',
  'ACTIONS_ID_TOKEN_REQUEST_TOKEN',
  'ACTIONS_RUNTIME_TOKEN',
  'GITHUB_TOKEN',
  'CI_JOB_TOKEN',
];
