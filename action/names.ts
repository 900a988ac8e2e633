import type { Env } from '../core/runner.ts';
import { asName } from '../plugin/names.ts';

/** The repository's name: what a project is called unless somebody says otherwise. */
export function repositoryName(env: Env): string | undefined {
  return asName(env.GITHUB_REPOSITORY?.split('/').at(-1));
}

/** `release` for .github/workflows/release.yml. */
export function workflowFileName(env: Env): string | undefined {
  const [path = ''] = (env.GITHUB_WORKFLOW_REF ?? '').split('@refs/');
  return asName(
    path
      .split('/')
      .at(-1)
      ?.replace(/\.ya?ml$/, ''),
  );
}
