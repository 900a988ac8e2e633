import { command } from './command.ts';
import { printJson } from './context.ts';
import { version } from './release.ts';

export const versionCommand = command({
  name: 'version',
  about: 'the version of this program',
  examples: ['chainloop version', 'chainloop version --output json'],
  flags: {},
  run: async (context) => {
    if (context.output === 'json') printJson(context, { version, node: process.versions.node });
    else context.stdout.write(`${version}\n`);
  },
});
