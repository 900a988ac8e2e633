import { ChainloopError } from '../core/errors.ts';
import type { CasBackendView } from '../core/wire.ts';
import { command, group, requiredText, text, toggle } from './command.ts';
import { connect } from './connect.ts';
import { print } from './context.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

const name = requiredText('<name>', 'the backend');
const passwordDetails =
  'The password is taken from CHAINLOOP_REGISTRY_PASSWORD, where other users of this machine do not see it, or from --password.';

export const casBackend = group('cas-backend', 'where the evidence of the organization is stored', [
  group('add', 'add a storage backend', [
    command({
      name: 'oci',
      about: 'store evidence in an OCI registry; it is written to once, to see that it works',
      examples: [
        'chainloop cas-backend add oci --name ghcr --repo ghcr.io/acme/evidence --username robot',
        'chainloop cas-backend add oci --name local --repo 127.0.0.1:5000/evidence --insecure',
      ],
      details: passwordDetails,
      flags: {
        name: requiredText('<name>', 'what to call it'),
        repo: requiredText('<host/repository>', 'the repository in the registry'),
        username: text('<name>', 'who the registry knows the control plane as'),
        password: text('<password>', 'better in CHAINLOOP_REGISTRY_PASSWORD'),
        insecure: toggle('http instead of https'),
        keepDefault: toggle('keep the default backend that there is'),
      },
      run: async (context, { name, repo, username, password, insecure, keepDefault }) => {
        const added = await (await connect(context)).casBackend.add.mutate({
          ...{ name, repo, username, insecure, default: !keepDefault },
          password: password ?? (context.env.CHAINLOOP_REGISTRY_PASSWORD || undefined),
        });
        context.log.info('Storage backend added!');
        print(context, added, () => [table([added])]);
      },
    }),
  ]),
  command({
    name: 'ls',
    about: 'list the storage backends',
    examples: ['chainloop cas-backend ls'],
    flags: {},
    run: async (context) => {
      const list = await (await connect(context)).casBackend.list.query();
      print(context, list, () => [table(list.items)]);
    },
  }),
  command({
    name: 'set-default',
    about: 'store evidence there from now on; what is stored stays where it is',
    examples: ['chainloop cas-backend set-default --name ghcr'],
    flags: { name },
    run: async (context, { name }) => {
      const backend = await (await connect(context)).casBackend.setDefault.mutate({ name });
      context.log.info('Default storage backend set!');
      print(context, backend, () => [table([backend])]);
    },
  }),
  command({
    name: 'check',
    about: 'write to a storage backend and read it back',
    examples: ['chainloop cas-backend check --name ghcr'],
    flags: { name },
    run: async (context, { name }) => {
      const backend = await (await connect(context)).casBackend.check.mutate({ name });
      if (backend.status !== 'ok') {
        throw new ChainloopError(
          backend.problemCode ?? 'STORAGE_UNAVAILABLE',
          `storage backend '${name}' does not work: ${backend.problem ?? 'unknown reason'}`,
        );
      }
      context.log.info('Storage backend works!');
      print(context, backend, () => [table([backend])]);
    },
  }),
  command({
    name: 'update',
    about: 'give a storage backend other credentials; they are tried before they are kept',
    examples: ['chainloop cas-backend update --name ghcr --username robot'],
    details: passwordDetails,
    flags: {
      name,
      username: requiredText('<name>', 'who the registry knows the control plane as'),
      password: text('<password>', 'better in CHAINLOOP_REGISTRY_PASSWORD'),
    },
    run: async (context, flags) => {
      const password = flags.password ?? (context.env.CHAINLOOP_REGISTRY_PASSWORD || undefined);
      if (password === undefined) {
        throw new ChainloopError('USAGE', 'the password is missing: set CHAINLOOP_REGISTRY_PASSWORD, or give --password');
      }
      const api = await connect(context);
      const backend = await api.casBackend.update.mutate({ name: flags.name, username: flags.username, password });
      context.log.info('Storage backend updated!');
      print(context, backend, () => [table([backend])]);
    },
  }),
  command({
    name: 'rm',
    about: 'forget a storage backend; nothing is deleted in it',
    examples: ['chainloop cas-backend rm --name ghcr'],
    flags: { name },
    run: async (context, { name }) => {
      await (await connect(context)).casBackend.remove.mutate({ name });
      context.log.info('Storage backend removed!');
      print(context, { name, deleted: true }, () => []);
    },
  }),
]);

function table(backends: readonly CasBackendView[]): Table {
  return {
    header: ['NAME', 'PROVIDER', 'LOCATION', 'DEFAULT', 'STATUS', 'CHECKED AT', 'PROBLEM'],
    rows: backends.map(({ name, provider, location, default: isDefault, status, validatedAt, problem }) => [
      ...[name, provider, location, isDefault ? 'x' : '', status, validatedAt === null ? '' : formatTime(validatedAt), problem ?? ''],
    ]),
  };
}
