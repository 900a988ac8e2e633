import { parseDigest } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import type { RunDescription } from '../core/wire.ts';
import type { Context } from './context.ts';
import { evidenceOrganization, openGateway } from './evidence.ts';

/** The very bytes of what the control plane signed about a run. NOT_FOUND when there is none; DIGEST_MISMATCH for other bytes. */
export async function verdictBundle(
  context: Context,
  { run, verdict }: Pick<RunDescription, 'run' | 'verdict'>,
  which: 'vsa' | 'provenance',
): Promise<string> {
  const signed = verdict?.[which];
  if (signed === undefined || signed === null) {
    const why = verdict?.problem ?? verdict?.reasons.join(' ') ?? '';
    throw new ChainloopError('NOT_FOUND', `run ${run.id} has no ${which}, in state ${run.state}${why === '' ? '' : `: ${why}`}`);
  }
  const client = await openGateway(context, await evidenceOrganization(context));
  try {
    const { body } = await client.fetchBlob(parseDigest(signed.digest));
    return Buffer.concat(await Array.fromAsync(body)).toString('utf8');
  } finally {
    client.close();
  }
}
