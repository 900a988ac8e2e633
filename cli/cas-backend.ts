import { ChainloopError } from '../core/errors.ts';
import type { CasBackendFinding, CasBackendView } from '../core/wire.ts';
import { command, group, requiredText, text, toggle } from './command.ts';
import { connect } from './connect.ts';
import { type Context, print } from './context.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

const name = requiredText('<name>', 'the backend');
const takeOver = toggle('somebody else kept evidence there, and is gone for good');
const accessKey = {
  accessKeyId: text('<id>', 'the access key; default: AWS_ACCESS_KEY_ID'),
  secretAccessKey: text('<secret>', 'better in CHAINLOOP_S3_SECRET_ACCESS_KEY or AWS_SECRET_ACCESS_KEY'),
  sessionToken: text('<token>', 'of temporary credentials; better in AWS_SESSION_TOKEN'),
};
const accessKeyDetails =
  'The secret is taken from CHAINLOOP_S3_SECRET_ACCESS_KEY or AWS_SECRET_ACCESS_KEY, where other users of this machine do not see it, or from --secret-access-key. AWS_SESSION_TOKEN counts with AWS_SECRET_ACCESS_KEY alone.';
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
        takeOver,
      },
      run: async (context, { name, repo, username, password, insecure, keepDefault, takeOver }) => {
        const added = await (await connect(context)).casBackend.add.mutate({
          ...{ name, repo, username, insecure, default: !keepDefault },
          password: password ?? (context.env.CHAINLOOP_REGISTRY_PASSWORD || undefined),
          ...(takeOver ? { takeOver } : {}),
        });
        context.log.info('Storage backend added!');
        await sayShortLife(context, { name, location: added.location, username });
        print(context, added, () => [table([added])]);
      },
    }),
    command({
      name: 's3',
      about: 'store evidence in a bucket of S3, or of what speaks its API; it is written to once, to see that it works',
      examples: [
        'chainloop cas-backend add s3 --name aws --bucket acme-evidence --region eu-central-1 --access-key-id AKIAIOSFODNN7EXAMPLE',
        'chainloop cas-backend add s3 --name minio --bucket evidence --prefix acme --endpoint https://minio.example.com --region us-east-1',
      ],
      details: accessKeyDetails,
      flags: {
        name: requiredText('<name>', 'what to call it'),
        bucket: requiredText('<bucket>', 'the bucket, which exists'),
        prefix: text('<path>', 'what comes before every key'),
        region: requiredText('<region>', 'of the bucket; what an own server calls it, often us-east-1'),
        endpoint: text('<https://host>', "another server than Amazon's"),
        ...accessKey,
        pathStyle: toggle('the bucket comes in the path, not in the name of the host; so it is anyway with --endpoint'),
        virtualHost: toggle('the bucket comes in the name of the host, with --endpoint'),
        keepDefault: toggle('keep the default backend that there is'),
        takeOver,
      },
      run: async (context, flags) => {
        const { name, bucket, prefix, region, endpoint, pathStyle, virtualHost, keepDefault, takeOver } = flags;
        if (pathStyle && virtualHost) throw new ChainloopError('USAGE', '--path-style and --virtual-host exclude each other');
        const added = await (await connect(context)).casBackend.add.mutate({
          ...{ provider: 's3', name, bucket, prefix, region, endpoint, default: !keepDefault, ...accessKeyOf(context, flags) },
          ...(pathStyle || virtualHost ? { virtualHost } : {}),
          ...(takeOver ? { takeOver } : {}),
        });
        context.log.info('Storage backend added!');
        print(context, added, () => [table([added])]);
      },
    }),
  ]),
  command({
    name: 'ls',
    about: 'list the storage backends',
    details:
      'ROLE says which one is the default, which one stands in for it while it is invalid (fallback), and where new evidence goes now. Every backend outside of the server is checked every few minutes.',
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
    name: 'set-fallback',
    about: 'store evidence there while the last check of the default backend failed',
    examples: ['chainloop cas-backend set-fallback --name ghcr', 'chainloop cas-backend set-fallback --none'],
    details: 'What was stored there stays there, and is read from there, when the default backend works again.',
    flags: { name: text('<name>', 'the backend'), none: toggle('have no fallback from now on') },
    run: async (context, { name, none }) => {
      if (none === (name !== undefined)) throw new ChainloopError('USAGE', 'give either --name or --none');
      const { items } = await (await connect(context)).casBackend.setFallback.mutate({ name });
      context.log.info(none ? 'No fallback any more!' : 'Fallback storage backend set!');
      print(context, { items }, () => (none ? [] : [table(items)]));
    },
  }),
  command({
    name: 'set-mirror',
    about: 'copy there what runs bring from now on, with their attestations',
    examples: ['chainloop cas-backend set-mirror --name second', 'chainloop cas-backend set-mirror --name second --off'],
    details:
      'The copies are made after the push; what is still to be copied is shown by: chainloop outbox ls. What earlier runs brought is not copied.',
    flags: { name, off: toggle('copy nothing there any more; what is there stays') },
    run: async (context, { name, off }) => {
      const backend = await (await connect(context)).casBackend.setMirror.mutate({ name, mirror: !off });
      context.log.info(off ? 'Mirror removed!' : 'Mirror set!');
      print(context, backend, () => [table([backend])]);
    },
  }),
  command({
    name: 'check',
    about: 'look at everything that evidence needs of a storage backend; fails when something does not work',
    examples: ['chainloop cas-backend check --name ghcr'],
    flags: { name },
    run: async (context, { name }) => {
      const backend = await (await connect(context)).casBackend.check.mutate({ name });
      print(context, backend, () => [findingsTable(backend.findings ?? [])]);
      if (backend.status !== 'ok') {
        throw new ChainloopError(
          backend.problemCode ?? 'STORAGE_UNAVAILABLE',
          `storage backend '${name}' does not work: ${backend.problem ?? 'unknown reason'}`,
        );
      }
      context.log.info('Storage backend works!');
    },
  }),
  command({
    name: 'update',
    about: 'give a storage backend other credentials; they are tried before they are kept',
    examples: [
      'chainloop cas-backend update --name ghcr --username robot',
      'chainloop cas-backend update --name aws --access-key-id AKIAIOSFODNN7EXAMPLE',
    ],
    details: `For a registry: --username. ${passwordDetails} For a bucket: --access-key-id. ${accessKeyDetails}`,
    flags: {
      name,
      username: text('<name>', 'who the registry knows the control plane as'),
      password: text('<password>', 'better in CHAINLOOP_REGISTRY_PASSWORD'),
      ...accessKey,
    },
    run: async (context, flags) => {
      const { username } = flags;
      const login = username === undefined ? accessKeyOf(context, flags) : { username, password: passwordOf(context, flags.password) };
      const backend = await (await connect(context)).casBackend.update.mutate({ name: flags.name, ...login });
      context.log.info('Storage backend updated!');
      await sayShortLife(context, { name: flags.name, location: backend.location, username });
      print(context, backend, () => [table([backend])]);
    },
  }),
  command({
    name: 'take-over',
    about: 'say that whoever else kept evidence in a storage backend is gone for good, so that retention may remove what has had its time',
    details:
      'An organization leaves a mark where it keeps evidence, and removes nothing where it finds that of another one, or of the control plane that this one was restored from. This removes the marks of the others. Never where they still are: their evidence could be removed.',
    examples: ['chainloop cas-backend take-over --name ghcr'],
    flags: { name },
    run: async (context, { name }) => {
      const backend = await (await connect(context)).casBackend.takeOver.mutate({ name });
      context.log.info('Storage backend taken over!');
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

/** A password that ends would be noticed when evidence is not taken any more. */
async function sayShortLife(
  context: Context,
  { name, location, username }: { readonly name: string; readonly location: string; readonly username: string | undefined },
): Promise<void> {
  const { passwordHours } = await import('../core/adapters/oci/registries.ts');
  const hours = username === undefined ? undefined : passwordHours(location.split('/')[0] ?? '', username);
  if (hours === undefined) return;
  context.log.warn(
    `this password ends after ${hours} h; give the next one before, with: chainloop cas-backend update --name ${name} --username ${username}`,
  );
}

function passwordOf({ env }: Context, given: string | undefined): string {
  const password = given ?? (env.CHAINLOOP_REGISTRY_PASSWORD || undefined);
  if (password !== undefined) return password;
  throw new ChainloopError('USAGE', 'the password is missing: set CHAINLOOP_REGISTRY_PASSWORD, or give --password');
}

type AccessKey = { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string | undefined };

function accessKeyOf({ env }: Context, flags: Partial<Record<keyof AccessKey, string | undefined>>): AccessKey {
  const accessKeyId = flags.accessKeyId ?? (env.AWS_ACCESS_KEY_ID || undefined);
  const own = flags.secretAccessKey ?? (env.CHAINLOOP_S3_SECRET_ACCESS_KEY || undefined);
  const secretAccessKey = own ?? (env.AWS_SECRET_ACCESS_KEY || undefined);
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw new ChainloopError(
      'USAGE',
      `credentials are missing: give --access-key-id and set CHAINLOOP_S3_SECRET_ACCESS_KEY, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a registry, give --username`,
    );
  }
  const sessionToken = flags.sessionToken ?? (own === undefined ? env.AWS_SESSION_TOKEN || undefined : undefined);
  return { accessKeyId, secretAccessKey, sessionToken };
}

const marks = { ok: 'ok', note: 'ok, but', failed: 'FAILED', skipped: 'skipped' } as const;

function findingsTable(findings: readonly CasBackendFinding[]): Table {
  return { header: ['CHECK', 'RESULT', 'DETAIL'], rows: findings.map(({ check, status, detail }) => [check, marks[status], detail]) };
}

function table(backends: readonly CasBackendView[]): Table {
  return {
    header: ['NAME', 'PROVIDER', 'LOCATION', 'ROLE', 'STATUS', 'CHECKED AT', 'PROBLEM'],
    rows: backends.map(({ name, provider, location, status, validatedAt, problem, ...role }) => [
      ...[name, provider, location, roleOf(role), status, validatedAt === null ? '' : formatTime(validatedAt), problem ?? ''],
    ]),
  };
}

/** What a backend is for, and which one is in use when that is not plain. */
function roleOf({
  default: isDefault,
  fallback,
  mirror,
  current,
}: Pick<CasBackendView, 'default' | 'fallback' | 'mirror' | 'current'>): string {
  if (isDefault) return current ? 'default' : 'default (not in use)';
  return [...(fallback ? [`fallback${current ? ' (in use)' : ''}`] : []), ...(mirror ? ['mirror'] : [])].join(', ');
}
