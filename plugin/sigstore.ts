import type { SigstoreInstance } from '../core/adapters/sigstore/signer.ts';
import { limits } from '../core/limits.ts';
import type { Signer } from '../core/ports.ts';
import type { Env } from '../core/runner.ts';

/** The files of a private Sigstore; without any, the public one. */
export type SigstoreFiles = { readonly trustedRoot: string | undefined; readonly signingConfig: string | undefined };

/** The signer of a job that was told to sign with Sigstore. Everything of it is loaded when there is something to sign. */
export function sigstoreSigner(
  files: SigstoreFiles,
  job: {
    readonly env: Env;
    readonly workspace: string;
    /** How long a service that does not answer is tried; without it, as long as its kind of call is. */
    readonly retryBudgetMs?: number | undefined;
    /** Kept out of the log before it is used. */
    readonly mask?: ((secret: string) => void) | undefined;
    readonly signing: (identity: string, logs: readonly string[]) => void;
  },
): Signer {
  const { env, workspace, retryBudgetMs = limits.retryBudgetMs } = job;
  return {
    way: 'sigstore',
    async sign(pae) {
      const [{ createSigstoreSigner }, { defaultRetryPolicy }, { sigstoreToken }] = await Promise.all([
        import('../core/adapters/sigstore/signer.ts'),
        import('../core/adapters/retry.ts'),
        import('../core/adapters/ci-token.ts'),
      ]);
      const signer = createSigstoreSigner({
        instance: () => instanceOf(files, env, workspace),
        async token() {
          const token = await sigstoreToken(env);
          job.mask?.(token);
          return token;
        },
        signing: job.signing,
        now: () => new Date(),
        retryPolicy: { ...defaultRetryPolicy, budgetMs: Math.min(retryBudgetMs, limits.retryBudgetMs) },
      });
      return signer.sign(pae);
    },
  };
}

/** What to say of a signature that others will be able to look up. */
export function publishedIn(logs: readonly string[]): string {
  return `digest, signature and identity go into the transparency log of ${logs.join(' and ')}, for good, and for all who can read it`;
}

/** The option that is missing beside the other, and why: whom to ask, and whom to believe, belong together. */
export function halfOf({ trustedRoot, signingConfig }: SigstoreFiles): readonly [name: string, problem: string] | undefined {
  if ((trustedRoot === undefined) === (signingConfig === undefined)) return undefined;
  const [given, other] = trustedRoot === undefined ? ['signing-config', 'trusted-root'] : ['trusted-root', 'signing-config'];
  return [`sigstore-${other}`, `is missing beside sigstore-${given}: a Sigstore of your own needs both, and the public one neither`];
}

async function instanceOf({ trustedRoot, signingConfig }: SigstoreFiles, env: Env, workspace: string): Promise<SigstoreInstance> {
  const { publicInstance, readInstance } = await import('../core/adapters/sigstore/instance.ts');
  if (trustedRoot !== undefined && signingConfig !== undefined) return readInstance({ trustedRoot, signingConfig });
  const { stateDirectory } = await import('../core/adapters/crafting-directory.ts');
  return publicInstance(await stateDirectory({ env, workspace }));
}
