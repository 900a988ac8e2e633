import { ChainloopError } from '../core/errors.ts';
import { asName } from '../plugin/names.ts';
import type { Platform } from '../plugin/platform.ts';
import { builderId } from './builder.ts';
import type { Context } from './context.ts';
import { version } from './release.ts';
import { type Section, sections } from './terminal/section.ts';

/** A job of whatever CI system, as the environment tells it, that speaks to people on standard error. */
export function ciPlatform({ env, log, stderr }: Context, place: { readonly bundlePath: string | undefined }): Platform {
  const section: Section | undefined = env.GITLAB_CI === 'true' ? sections(stderr) : undefined;
  const say = (text: string): void => {
    for (const line of text.split(/\r\n|\n|\r/)) log.info(line);
  };
  return {
    env,
    directory: process.cwd(),
    program: 'cli',
    version,
    builderId,
    bundlePath: place.bundlePath,
    repository: env.GITLAB_CI === 'true' ? `${env.CI_SERVER_URL}/${env.CI_PROJECT_PATH}` : undefined,
    project: asName(env.CI_PROJECT_NAME),
    workflow: undefined,
    withoutToken: ({ url }) => withoutToken(env, url),
    // No CI system but GitHub can be told of a secret; none is ever written.
    mask: () => undefined,
    say,
    async group(title, run) {
      if (section !== undefined) return section(title, run);
      say(title);
      return run();
    },
    timed: (_, run) => run(),
  };
}

/**
 * Why the job is not the project's own: a merge request from a fork. What its jobs prove is that they are the fork's, wherever they run, so no
 * binding of the project lets them in.
 */
export function forkOf(env: Context['env']): string | undefined {
  const { CI_MERGE_REQUEST_PROJECT_ID: target, CI_MERGE_REQUEST_SOURCE_PROJECT_ID: from } = env;
  return target && from && target !== from ? 'This is a merge request from a fork, and its jobs are not those of the project' : undefined;
}

function withoutToken(env: Context['env'], url: string): ChainloopError {
  const start = `this job cannot say who it is to ${url}`;
  if (env.GITLAB_CI === 'true') {
    const lines = ['id_tokens:', '  CHAINLOOP_ID_TOKEN:', `    aud: ${url}`];
    return new ChainloopError(
      'UNAUTHENTICATED',
      `${start}: it has no id token. Add to the job, or give it CHAINLOOP_TOKEN:\n\n${lines.join('\n')}`,
    );
  }
  return new ChainloopError('UNAUTHENTICATED', `${start}: set CHAINLOOP_TOKEN to the token of a service account`);
}
