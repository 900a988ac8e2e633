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
      const { url, organization, token } = await context.settings();
      const shown = { file: configPath(context.env), url, organization: organization ?? null, token: token === undefined ? 'none' : 'set' };
      print(context, shown, () => [
        {
          rows: [
            ['File', shown.file],
            ['URL', url],
            ['Organization', organization ?? ''],
            ['Token', shown.token],
          ],
        },
      ]);
    },
  }),
  command({
    name: 'set',
    about: 'keep a URL or an organization for the commands that follow',
    examples: ['chainloop config set url https://chainloop.example.com', 'chainloop config set organization acme'],
    details: 'A token is kept by: chainloop auth login. Another URL forgets the token and the organization of the one before.',
    flags: {},
    operands: ['<url|organization>', '<value>'],
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
        default:
          throw new ChainloopError('USAGE', `config: only url and organization can be set, not '${name}'`);
      }
      context.log.info(`${name} is set`);
      print(context, { [name]: value }, () => []);
    },
  }),
]);
