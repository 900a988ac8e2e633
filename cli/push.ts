import type { Pushed } from '../core/attestation.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { attachmentLines, attachmentRows } from '../plugin/attachments.ts';
import { registryFlags } from './attach.ts';
import { command, pairs, text, toggle } from './command.ts';
import { type Context, printJson } from './context.ts';
import { attacherOf, controlPlaneOf, initPortsOf } from './crafting.ts';
import { currentFolder, jobFlags, openJob } from './job.ts';
import { signerOf, signingFlags } from './signing.ts';

export const pushCommand = command({
  name: 'push',
  about: 'check that all is there, sign it, and send it to the control plane',
  examples: [
    'chainloop attestation push --bundle release.sigstore.json',
    'chainloop attestation push --key release.key',
    'chainloop attestation push --attach',
    'CHAINLOOP_SIGNING_KEY=env://SIGNING_KEY chainloop attestation push --signing key',
  ],
  details: `Without a key it signs keyless: the control plane certifies a key of this moment for the job, as the job's own identity; that takes the
credential of a job, not of a person. The password of an encrypted key is taken from CHAINLOOP_SIGNING_PASSWORD. Prints the signed envelope. A
push whose answer was lost is repeated with the same bytes, from the same machine and folder. Where jobs share the attestation, another job
has nothing to repeat: once the run has ended, it is told so (exit status 6), and no bundle is written; an operator gets it with:
chainloop workflow run describe --id RUN --output attestation > FILE
With --attach the bundle is put on each container image of the attestation, in its own registry, where 'oras discover' and cosign find it. The
registry is asked with the credentials of Docker, unless they are given. What is printed is recorded, whatever becomes of that: when an image
could not be reached, the exit status is that of the reason (5 for credentials, 75 for 'try again'), and the same command, or attestation attach,
attaches what is left.`,
  flags: {
    ...signingFlags,
    bundle: text('<path>', 'also write the Sigstore bundle to this file'),
    annotation: pairs('an annotation of the attestation'),
    attach: toggle('also put the bundle on the container images'),
    ...registryFlags,
    ...jobFlags,
  },
  run: async (context, { signing, key, bundle, annotation, attach, registryUsername, registryPassword, ...flags }) => {
    const { store, shared, begun } = await openJob(context, flags);
    const { context: place, dryRun } = await begun();
    const [{ attachError, init, push }, { builderId }] = await Promise.all([import('../core/attestation.ts'), import('./builder.ts')]);
    const ports = {
      store,
      controlPlane: controlPlaneOf(place),
      signer: signerOf(place, { signing, key }, { dryRun }),
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
    if ((await store.sealed()) !== undefined) saySealed(context, { signing, key, annotation });
    const pushed = await push(ports, { builderId: await builderId(), annotations: annotation });
    await printPushed(context, pushed);
    if (pushed.type === 'pushed') context.log.info('Attestation pushed!');
    else context.log.info('Attestation is complete; this was a dry run, and nothing was sent');
    if (bundle !== undefined && pushed.bundle !== undefined) await writeBundle(bundle, pushed.bundle, pushed);
    if (!attach || pushed.type === 'dryRun') return;
    if (pushed.attachments.length === 0) context.log.warn('It has no container image, so there is nothing to attach it to');
    for (const line of attachmentLines(pushed.attachments)) context.log.info(line);
    const failure = attachError(pushed.attachments, 'attach it with the same command again, from here');
    if (failure !== undefined) throw failure;
  },
});

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
function saySealed({ log }: Context, asked: { readonly signing?: unknown; readonly key?: unknown; readonly annotation: object }): void {
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
