import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import * as core from '@actions/core';
import { ChainloopError } from '../core/errors.ts';
import type { Env } from '../core/runner.ts';
import type { Platform } from '../plugin/platform.ts';
import { builderId } from './builder.ts';
import { directoryOf } from './inputs.ts';
import { group, say, timed } from './log.ts';
import { repositoryName, workflowFileName } from './names.ts';
import { version } from './release.ts';

/** A job of GitHub Actions. What a step needs to say of it goes through `@actions/core`. */
export function github(env: Env = process.env): Platform {
  return {
    env,
    directory: directoryOf(env),
    program: 'action',
    version,
    builderId,
    bundlePath: join(env.RUNNER_TEMP ?? '.', 'chainloop', `bundle-${randomUUID()}.json`),
    repository: `${env.GITHUB_SERVER_URL}/${env.GITHUB_REPOSITORY}`,
    project: repositoryName(env),
    workflow: workflowFileName(env),
    withoutToken,
    mask: core.setSecret,
    say,
    group,
    timed,
  };
}

function withoutToken({ auth, url }: Parameters<Platform['withoutToken']>[0]): ChainloopError {
  const tokenless = auth === 'oidc' ? '' : ", or give it an API token in the input 'token'";
  const lines = ['permissions:', '  contents: read', '  id-token: write'];
  return new ChainloopError(
    'UNAUTHENTICATED',
    `this job cannot say who it is to ${url}: it lacks the permission 'id-token: write'. Add to the job${tokenless}:\n\n${lines.join('\n')}`,
  );
}
