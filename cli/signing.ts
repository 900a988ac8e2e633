import type { KeylessPorts } from '../core/adapters/keyless.ts';
import { ChainloopError } from '../core/errors.ts';
import type { Signer } from '../core/ports.ts';
import { oneOf, text } from './command.ts';
import { apiOptions } from './connect.ts';
import type { Context } from './context.ts';

/** How an attestation is signed. */
export const signingFlags = {
  signing: oneOf('<way>', ['keyless', 'key'], 'how to sign; by default with the key that is given, else keyless'),
  key: text('<path|env://VAR>', 'the private key to sign with (CHAINLOOP_SIGNING_KEY)'),
};

type Choice = { readonly signing: 'keyless' | 'key' | undefined; readonly key: string | undefined };

/**
 * The signer that was chosen: the key at a path or `env://VAR`, else a certificate of the control plane for this job. Without a key, none in a
 * dry run, which has no control plane. Throws USAGE when the options contradict each other.
 */
export function signerOf(context: Context, { signing, key }: Choice, { dryRun }: { readonly dryRun: boolean }): Signer | undefined {
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
