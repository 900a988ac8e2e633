import { resolve } from 'node:path';
import { ChainloopError } from '../core/errors.ts';
import { command, group } from './command.ts';
import { print } from './context.ts';
import { configPath, originOf, readConfig, writeConfig } from './settings.ts';

export const config = group('config', 'what is kept between commands', [
  command({
    name: 'show',
    about: 'show where the control plane is, in which organization you work, and where that is said',
    examples: ['chainloop config show'],
    flags: {},
    run: async (context) => {
      const { url, organization, token, trustRoot } = await context.settings();
      const shown = {
        ...{ file: configPath(context.env), url, organization: organization ?? null },
        ...{ token: token === undefined ? 'none' : 'set', ...(trustRoot !== undefined && { trustRoot }) },
      };
      print(context, shown, () => [
        {
          rows: [
            ['File', shown.file],
            ['URL', url],
            ['Organization', organization ?? ''],
            ['Token', shown.token],
            ...(trustRoot === undefined ? [] : [['Trusted Root', trustRoot]]),
          ],
        },
      ]);
    },
  }),
  command({
    name: 'set',
    about: 'keep a URL, an organization or a trusted root for the commands that follow',
    examples: [
      'chainloop config set url https://chainloop.example.com',
      'chainloop config set organization acme',
      'chainloop config set trust-root root.json',
    ],
    details: `A token is kept by: chainloop auth login. Another URL forgets the token, the organization and the trusted root of the one before. The
trusted root stays the file that it is: whoever can change it decides what chainloop verify believes.`,
    flags: {},
    operands: ['<url|organization|trust-root>', '<value>'],
    run: async (context, _, [name, value = '']) => {
      const before = await readConfig(context.env);
      switch (name) {
        case 'url': {
          const url = originOf(value);
          await writeConfig(context.env, before.url === url ? before : { url });
          break;
        }
        case 'organization': {
          const { Name } = await import('../core/names.ts');
          if (!Name.safeParse(value).success) throw new ChainloopError('USAGE', 'organization: lower-case letters, digits and dashes');
          await writeConfig(context.env, { ...before, organization: value });
          break;
        }
        case 'trust-root': {
          const [{ loadTrustRoot }, { readTrustRoot }] = await Promise.all([import('../core/trust-root.ts'), import('./policy.ts')]);
          await loadTrustRoot(await readTrustRoot(value));
          await writeConfig(context.env, { ...before, trustRoot: resolve(value) });
          break;
        }
        default:
          throw new ChainloopError('USAGE', `config: only url, organization and trust-root can be set, not '${name}'`);
      }
      context.log.info(`${name} is set`);
      print(context, { [name]: value }, () => []);
    },
  }),
]);
