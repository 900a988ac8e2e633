import type { RegistryClient } from '../core/adapters/oci/client.ts';
import { ChainloopError } from '../core/errors.ts';
import type { EvidenceFile, EvidenceStore } from '../core/ports.ts';
import { addressOf, authenticatedSettings, connect } from './connect.ts';
import type { Context } from './context.ts';
import { version } from './release.ts';
import { type Progress, startProgress } from './terminal/progress.ts';

/** The organization whose evidence is meant: the token's own, or the one that was chosen. Throws USAGE when there is none. */
export async function evidenceOrganization(context: Context): Promise<string> {
  const { organization } = await context.settings();
  const actor = await (await connect(context)).auth.whoami.query();
  const name = actor.organization ?? organization;
  if (name !== undefined) return name;
  throw new ChainloopError(
    'USAGE',
    'no organization is chosen; name one with --organization, or keep one with: chainloop org use --name NAME',
  );
}

/** A control plane that starts again is there again in seconds. */
const longestPauseMs = 2_000;

/**
 * The gateway of the control plane, as a registry with one repository for the organization. A control plane that is away is waited for as
 * long as CHAINLOOP_RETRY_SECONDS says; an upload goes on where it was. Close it afterwards.
 */
export async function openGateway(context: Context, organization: string): Promise<RegistryClient> {
  const [settings, { createRegistryClient }] = await Promise.all([
    authenticatedSettings(context),
    import('../core/adapters/oci/client.ts'),
  ]);
  const { url, retryBudgetMs } = addressOf(context, settings);
  return createRegistryClient({
    origin: url,
    repository: organization,
    credentials: { type: 'bearer', token: async () => (await authenticatedSettings(context)).token },
    userAgent: `chainloop/${version}`,
    noun: 'control plane',
    fetchPolicy: {
      attempts: Number.POSITIVE_INFINITY,
      maxDelayMs: longestPauseMs,
      ...(retryBudgetMs === undefined ? {} : { budgetMs: retryBudgetMs }),
    },
    advice: 'check the token: chainloop auth whoami',
  });
}

/** The evidence storage behind the gateway, showing on stderr how far each upload is. */
export async function openEvidenceStore(client: RegistryClient, { stderr, log }: Pick<Context, 'stderr' | 'log'>): Promise<EvidenceStore> {
  const { createEvidenceStore } = await import('../core/adapters/oci/evidence-store.ts');
  const shown = new Map<EvidenceFile, Progress>();
  const store = createEvidenceStore({ client, onProgress: (file, sentBytes) => shown.get(file)?.update(sentBytes) });
  return {
    async upload(file) {
      const progress = startProgress(stderr, { label: file.fileName, totalBytes: file.sizeBytes });
      shown.set(file, progress);
      try {
        const uploaded = await store.upload(file);
        if (!uploaded.existed) progress.done(`${file.fileName}@${uploaded.digest}`);
        else log.info('in storage already, nothing was sent', { name: `${file.fileName}@${uploaded.digest}` });
        return uploaded;
      } finally {
        progress.clear();
        shown.delete(file);
      }
    },
  };
}
