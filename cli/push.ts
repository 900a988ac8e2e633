import type { Pushed } from '../core/attestation.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import type { CraftingStore } from '../core/ports.ts';
import { attachmentLines, attachmentRows } from '../plugin/attachments.ts';
import { isDeferred } from '../plugin/failure.ts';
import { registryFlags } from './attach.ts';
import { command, oneOf, pairs, text, toggle, type Values } from './command.ts';
import { type Context, printJson } from './context.ts';
import { attacherOf, controlPlaneOf, initPortsOf } from './crafting.ts';
import { currentFolder, jobFlags, openJob } from './job.ts';
import { signerOf, signingFlags } from './signing.ts';

const pushFlags = {
  ...signingFlags,
  bundle: text('<path>', 'also write the Sigstore bundle to this file'),
  annotation: pairs('an annotation of the attestation'),
  attach: toggle('also put the bundle on the container images'),
  onOutage: oneOf('<what>', ['fail', 'defer'], 'when the control plane, or Sigstore, does not answer'),
  ...registryFlags,
  ...jobFlags,
};

export const pushCommand = command({
  name: 'push',
  about: 'check that all is there, sign it, and send it to the control plane',
  examples: [
    'chainloop attestation push --bundle release.sigstore.json',
    'chainloop attestation push --key release.key',
    'chainloop attestation push --signing sigstore --on-outage defer',
    'chainloop attestation push --attach',
    'CHAINLOOP_SIGNING_KEY=env://SIGNING_KEY chainloop attestation push --signing key',
  ],
  details: `Without a key it signs keyless: the control plane certifies a key of this moment for the job, as the job's own identity; that takes the
credential of a job, not of a person. With --signing sigstore the public Sigstore does, or one of your own: it takes the token of a CI job, and what
is signed stands in a public log. Nothing else ever asks Sigstore. The password of an encrypted key is taken from CHAINLOOP_SIGNING_PASSWORD. Prints the signed envelope. A
push whose answer was lost is repeated with the same bytes, from the same machine and folder. Where jobs share the attestation, another job
has nothing to repeat: once the run has ended, it is told so (exit status 6), and no bundle is written; an operator gets it with:
chainloop workflow run describe --id RUN --output attestation > FILE
When the control plane or Sigstore does not answer, the exit status is 75. With --on-outage defer it is 0: nothing is recorded, what was signed
is kept, or what was sealed, not signed, and the run stays open; the next push from here sends it, once. --output json says "deferred".
With --attach the bundle is put on each container image of the attestation, in its own registry, where 'oras discover' and cosign find it. The
registry is asked with the credentials of Docker, unless they are given. What is printed is recorded, whatever becomes of that: when an image
could not be reached, the exit status is that of the reason (5 for credentials, 75 for 'try again'), and the same command, or attestation attach,
attaches what is left.`,
  flags: pushFlags,
  run: async (context, { onOutage, ...given }) => {
    const kept: Kept = { bundle: undefined, statement: false };
    const pushed = await deliver(context, given, onOutage, kept).catch(async (error: unknown) => {
      if (!isDeferred(error, { onOutage: onOutage ?? 'fail' })) throw error;
      await printDeferred(context, error, kept, given.bundle);
      return undefined;
    });
    if (pushed === undefined || !given.attach || pushed.type === 'dryRun') return;
    if (pushed.attachments.length === 0) context.log.warn('It has no container image, so there is nothing to attach it to');
    for (const line of attachmentLines(pushed.attachments)) context.log.info(line);
    const { attachError } = await import('../core/attestation/attachment.ts');
    const failure = attachError(pushed.attachments, 'attach it with the same command again, from here');
    if (failure !== undefined) throw failure;
  },
});

type Given = Omit<Values<typeof pushFlags>, 'onOutage'>;

/** What is known to be kept here: nobody has to be asked for it again when somebody does not answer. */
type Kept = { bundle: string | undefined; statement: boolean };

function watched(store: CraftingStore, kept: Kept): CraftingStore {
  return {
    ...store,
    async seal(bundle) {
      await store.seal(bundle);
      kept.bundle = bundle;
    },
    async sealed() {
      kept.bundle = await store.sealed();
      return kept.bundle;
    },
    async keepStatement(statement) {
      await store.keepStatement(statement);
      kept.statement = true;
    },
    async keptStatement() {
      const statement = await store.keptStatement();
      kept.statement = statement !== undefined;
      return statement;
    },
    async unseal() {
      await store.unseal();
      Object.assign(kept, { bundle: undefined, statement: false });
    },
  };
}

/** Everything up to what is recorded. */
async function deliver(context: Context, given: Given, onOutage: 'fail' | 'defer' | undefined, kept: Kept) {
  const { bundle, annotation, attach, registryUsername, registryPassword, ...flags } = given;
  const { store: opened, shared, begun } = await openJob(context, flags);
  const store = watched(opened, kept);
  const { context: place, dryRun } = await begun();
  const [{ init, push }, { builderId }] = await Promise.all([import('../core/attestation.ts'), import('./builder.ts')]);
  const ports = {
    store,
    controlPlane: controlPlaneOf(place),
    signer: signerOf(place, flags, { dryRun }),
    now: () => new Date(),
    ...(attach && { attacher: attacherOf(context, { registryUsername, registryPassword }) }),
    ...(shared && {
      begin: async () => {
        const from = { type: 'controlPlane', origin: (await place.settings()).url } as const;
        return init(await initPortsOf(place, store), { from, env: context.env, directory: currentFolder() });
      },
    }),
  };
  // A file that cannot be written is said before anything is signed, not when the run is over.
  if (bundle !== undefined) await (await import('../core/adapters/files.ts')).assertWritable(bundle);
  if ((await store.sealed()) !== undefined) saySealed(context, given);
  else if ((await store.keptStatement()) !== undefined)
    context.log.info('It is sealed already, by a push that could not sign it: these bytes are signed now');
  const pushed = await push(ports, { builderId: await builderId(), annotations: annotation, keepUnsigned: onOutage === 'defer' });
  await printPushed(context, pushed);
  if (pushed.type === 'pushed') context.log.info('Attestation pushed!');
  else context.log.info('Attestation is complete; this was a dry run, and nothing was sent');
  if (bundle !== undefined && pushed.bundle !== undefined) await writeBundle(bundle, pushed.bundle, pushed);
  return pushed;
}

/** Nothing is recorded, and the job goes on: said so that nobody takes it for done. What is not signed is not called signed, nor written as a bundle. */
async function printDeferred(
  context: Context,
  error: ChainloopError,
  { bundle, statement }: Kept,
  path: string | undefined,
): Promise<void> {
  const { log } = context;
  const found =
    bundle !== undefined
      ? 'The signed attestation is kept'
      : `The attestation is ${statement ? 'sealed and kept' : 'still open'}, NOT SIGNED`;
  log.warn(`DEFERRED, nothing is recorded: ${error.message}`);
  log.warn(`${found}; send it before its run expires, from here, with: chainloop attestation push`);
  if (path !== undefined && bundle !== undefined) {
    const { writeFileAtomically } = await import('../core/adapters/files.ts');
    await writeFileAtomically(path, Buffer.from(bundle), 0o644);
  }
  if (context.output !== 'json') return;
  const { code, message } = error;
  printJson(context, {
    state: 'deferred',
    signed: bundle !== undefined,
    bundle: bundle === undefined ? null : JSON.parse(bundle),
    error: { code, message },
  });
}

async function printPushed(context: Context, pushed: Pushed): Promise<void> {
  const { Envelope } = await import('../core/dsse.ts');
  const bundle: { readonly dsseEnvelope?: unknown } | null = pushed.bundle === undefined ? null : JSON.parse(pushed.bundle);
  if (context.output === 'table' && bundle !== null) {
    // DSSE v1, its keys in the order of the introduction.
    const { payloadType, payload, signatures } = Envelope.parse(bundle.dsseEnvelope);
    printJson(context, { payloadType, payload, signatures: signatures.map(({ sig, keyid = '' }) => ({ keyid, sig })) });
    return;
  }
  switch (pushed.type) {
    case 'pushed':
      printJson(context, {
        runId: pushed.runId,
        digest: pushed.digest,
        state: 'success',
        bundle,
        attachments: attachmentRows(pushed.attachments),
      });
      return;
    case 'dryRun': {
      const statement: unknown = JSON.parse(new TextDecoder().decode(pushed.statement));
      printJson(context, context.output === 'table' ? statement : { dryRun: true, statement, bundle });
    }
  }
}

/** A push that is repeated sends what was signed the first time, whatever is asked for now. */
function saySealed({ log }: Context, asked: Pick<Given, 'signing' | 'key' | 'annotation'>): void {
  log.info('It is signed already, by a push whose outcome is not known, or that could not attach it: the same bytes are sent again');
  const { signing, key, annotation } = asked;
  const given = [
    ...(signing === undefined ? [] : ['--signing']),
    ...(key === undefined ? [] : ['--key']),
    ...(Object.keys(annotation).length === 0 ? [] : ['--annotation']),
  ];
  if (given.length > 0)
    log.warn(`${given.join(' and ')} cannot change it any more; to sign anew, begin again: chainloop attestation reset`);
}

async function writeBundle(path: string, bundle: string, pushed: Pushed): Promise<void> {
  const { writeFileAtomically } = await import('../core/adapters/files.ts');
  try {
    await writeFileAtomically(path, Buffer.from(bundle), 0o644);
  } catch (cause) {
    const { code, message } = isChainloopError(cause) ? cause : { code: 'FILE_UNREADABLE' as const, message: `${path} cannot be written` };
    const advice =
      pushed.type === 'dryRun'
        ? 'this was a dry run, so begin it again'
        : `the attestation itself is done; an operator gets its bundle with: chainloop workflow run describe --id ${pushed.runId} --output attestation > FILE`;
    throw new ChainloopError(code, `${message}; ${advice}`, { cause });
  }
}
