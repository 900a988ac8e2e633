import type { KeylessPorts } from '../core/adapters/keyless.ts';
import { ChainloopError } from '../core/errors.ts';
import type { Signer } from '../core/ports.ts';
import { halfOf, publishedIn, sigstoreSigner } from '../plugin/sigstore.ts';
import { longName, oneOf, text, type Values } from './command.ts';
import { apiOptions, retryBudgetOf } from './connect.ts';
import type { Context } from './context.ts';
import { currentFolder } from './job.ts';

/** The files of a Sigstore of one's own. */
export const sigstoreFlags = {
  sigstoreTrustedRoot: text('<path>', 'of a Sigstore of your own: its trusted root, JSON (default: public Sigstore)'),
  sigstoreSigningConfig: text('<path>', 'of a Sigstore of your own: its signing config v0.2, JSON'),
};

/** How an attestation is signed. */
export const signingFlags = {
  signing: oneOf('<way>', ['keyless', 'key', 'sigstore'], 'how to sign; by default with the key that is given, else keyless'),
  key: text('<path|env://VAR>', 'the private key to sign with (CHAINLOOP_SIGNING_KEY)'),
  ...sigstoreFlags,
};

export type SigningChoice = Values<typeof signingFlags>;

/**
 * The signer that was chosen: the key at a path or `env://VAR`, else a certificate of the control plane for this job. Without a key, none in a
 * dry run, which has no control plane. Throws USAGE when the options contradict each other.
 */
export function signerOf(context: Context, choice: SigningChoice, { dryRun }: { readonly dryRun: boolean }): Signer | undefined {
  const { signing, key } = choice;
  if (signing === 'sigstore') return sigstore(context, choice, { dryRun });
  for (const name of ['sigstoreTrustedRoot', 'sigstoreSigningConfig'] as const)
    if (choice[name] !== undefined)
      throw new ChainloopError('USAGE', `--${longName(name)} is for --signing sigstore; give that too, or leave it out`);
  const reference = key ?? (context.env.CHAINLOOP_SIGNING_KEY || undefined);
  if (signing === 'keyless') {
    if (key !== undefined) throw new ChainloopError('USAGE', '--signing keyless and --key exclude each other; leave one of them out');
    if (dryRun) {
      throw new ChainloopError(
        'USAGE',
        '--signing keyless: a dry run has no control plane to certify it; leave it out, or sign with --key',
      );
    }
    return keylessSigner(context);
  }
  if (reference !== undefined) return keySigner(context, reference);
  if (signing === 'key') {
    throw new ChainloopError(
      'USAGE',
      '--signing key: there is none; give one with --key or CHAINLOOP_SIGNING_KEY, or make one with: chainloop key generate',
    );
  }
  return dryRun ? undefined : keylessSigner(context);
}

function sigstore(context: Context, choice: SigningChoice, { dryRun }: { readonly dryRun: boolean }): Signer {
  if (choice.key !== undefined) throw new ChainloopError('USAGE', '--signing sigstore and --key exclude each other; leave one of them out');
  if (dryRun)
    throw new ChainloopError(
      'USAGE',
      '--signing sigstore: a dry run publishes nothing in a transparency log; leave it out, or sign with --key',
    );
  const files = { trustedRoot: choice.sigstoreTrustedRoot, signingConfig: choice.sigstoreSigningConfig };
  const half = halfOf(files);
  if (half !== undefined) throw new ChainloopError('USAGE', `--${half[0]} ${half[1]}`);
  const { env, log } = context;
  return sigstoreSigner(files, {
    ...{ env, workspace: currentFolder(), retryBudgetMs: retryBudgetOf(context) },
    signing(identity, logs) {
      log.info(`Signing with Sigstore as ${identity}`);
      if (logs.length > 0) log.info(publishedIn(logs));
    },
  });
}

function keySigner({ env }: Context, reference: string): Signer {
  return {
    way: 'key',
    async sign(pae) {
      const { loadSigner } = await import('../core/adapters/keys.ts');
      const password = env.CHAINLOOP_SIGNING_PASSWORD ? 'env://CHAINLOOP_SIGNING_PASSWORD' : undefined;
      return (await loadSigner(reference, { env, password })).sign(pae);
    },
  };
}

/** Asks for nothing before there is something to sign. */
function keylessSigner(context: Context): Signer {
  return {
    way: 'keyless',
    async sign(pae) {
      const [{ createKeylessSigner }, { createKeylessPorts }, { createApi }] = await Promise.all([
        import('../core/adapters/keyless.ts'),
        import('../client/signing.ts'),
        import('../client/api.ts'),
      ]);
      const ports = createKeylessPorts(createApi(await apiOptions(context)));
      return createKeylessSigner({ ...ports, identity: () => told(context, ports) }).sign(pae);
    },
  };
}

async function told({ log }: Context, ports: KeylessPorts): Promise<string> {
  const identity = await ports.identity();
  log.info(`Signing keyless as ${identity}`);
  return identity;
}
