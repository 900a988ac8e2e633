import { open } from 'node:fs/promises';
import { ChainloopError } from '../core/errors.ts';
import { systemCode } from '../core/system-code.ts';
import type { PublicKeyView } from '../core/wire.ts';
import { command, group, requiredText } from './command.ts';
import { connect } from './connect.ts';
import { print } from './context.ts';
import { collect, pageFlags } from './paging.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

export const key = group('key', 'signing keys: generate them, and say which are trusted', [
  command({
    name: 'generate',
    about: 'make a key pair for signing attestations',
    examples: [
      'chainloop key generate --output-key-prefix release',
      'CHAINLOOP_SIGNING_PASSWORD=… chainloop key generate --output-key-prefix release',
    ],
    details: `Writes PREFIX.key, which only you can read, and PREFIX.pub. The private key is encrypted when CHAINLOOP_SIGNING_PASSWORD is set.
Nothing that exists is overwritten.`,
    flags: { outputKeyPrefix: requiredText('<prefix>', 'the path of both files, without .key and .pub') },
    run: async (context, { outputKeyPrefix: prefix }) => {
      const { generateKeyPair } = await import('../core/adapters/keys.ts');
      const { keyHint } = await import('../core/key.ts');
      const password = context.env.CHAINLOOP_SIGNING_PASSWORD || undefined;
      const { privateKeyPem, publicKeyPem } = await generateKeyPair({ password });
      await create(`${prefix}.key`, privateKeyPem, 0o600);
      await create(`${prefix}.pub`, publicKeyPem, 0o644);
      if (password === undefined) context.log.warn(`${prefix}.key is not encrypted; set CHAINLOOP_SIGNING_PASSWORD to encrypt it`);
      context.log.info('Key pair generated!', { private: `${prefix}.key`, public: `${prefix}.pub` });
      const written = {
        privateKey: `${prefix}.key`,
        publicKey: `${prefix}.pub`,
        hint: keyHint(publicKeyPem),
        encrypted: password !== undefined,
      };
      print(context, written, () => []);
    },
  }),
  command({
    name: 'trust',
    about: 'accept attestations that are signed with this key',
    examples: ['chainloop key trust --name release -f release.pub'],
    flags: { name: requiredText('<name>', 'what to call it'), file: requiredText('<path>', 'the public key (PEM)', { short: '-f' }) },
    run: async (context, { name, file }) => {
      const { readPublicKey } = await import('../core/adapters/keys.ts');
      // Normalised here: a private key that was taken for a public one does not leave this machine.
      const { pem } = await readPublicKey(file);
      const trusted = await (await connect(context)).key.trust.mutate({ name, pem });
      context.log.info('Key trusted!');
      print(context, trusted, () => [table([trusted])]);
    },
  }),
  command({
    name: 'ls',
    about: 'list the keys that the organization trusts',
    examples: ['chainloop key ls'],
    flags: pageFlags,
    run: async (context, flags) => {
      const client = await connect(context);
      const page = await collect(context, flags, (page) => client.key.list.query(page));
      print(context, page, () => [table(page.items)]);
    },
  }),
  command({
    name: 'rm',
    about: 'trust a key no longer; attestations that it signed show as not verified',
    examples: ['chainloop key rm --name release'],
    flags: { name: requiredText('<name>', 'the key') },
    run: async (context, { name }) => {
      await (await connect(context)).key.remove.mutate({ name });
      context.log.info('Key removed!');
      print(context, { name, deleted: true }, () => []);
    },
  }),
]);

/** Writes a new file, durably. FILE_EXISTS for one that is there: a key is never lost to a second `generate`. */
async function create(path: string, text: string, mode: number): Promise<void> {
  try {
    await using file = await open(path, 'wx', mode);
    await file.writeFile(text);
    await file.sync();
  } catch (cause) {
    const code = systemCode(cause);
    if (code === 'EEXIST')
      throw new ChainloopError('FILE_EXISTS', `key: ${path} exists; choose another prefix, or move it away`, { cause });
    if (code === 'ENOENT')
      throw new ChainloopError('FILE_NOT_FOUND', `key: the directory of ${path} does not exist; create it first`, { cause });
    if (code === 'ENOSPC')
      throw new ChainloopError('DISK_FULL', `key: no space left to write ${path}; make room, and try again`, { cause });
    throw new ChainloopError('FILE_UNREADABLE', `key: ${path} cannot be written (${code})`, { cause });
  }
}

function table(keys: readonly PublicKeyView[]): Table {
  return {
    header: ['NAME', 'TYPE', 'HINT', 'CREATED AT'],
    rows: keys.map(({ name, type, hint, createdAt }) => [name, type, hint, formatTime(createdAt)]),
  };
}
