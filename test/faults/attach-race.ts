import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { emptyConfig } from '../../core/adapters/oci/artifact-manifest.ts';
import { createRegistryClient } from '../../core/adapters/oci/client.ts';
import { type Digest, digestOf } from '../../core/digest.ts';
import { limits } from '../../core/limits.ts';
import { blobOf } from '../fakes/bytes.ts';
import { startRegistry } from '../fakes/docker-registry.ts';

/** What a process of writers is told: attach so many to this subject, all at once. */
export type Work = {
  readonly origin: string;
  readonly subject: Digest;
  readonly name: string;
  readonly writers: number;
  readonly quietMs: number;
};
type Ended = { readonly attached?: string; readonly failed?: string };

/** Of one round: what was acknowledged, and is not there; and what was refused. */
export type Round = { readonly attached: number; readonly lost: number; readonly failed: readonly string[]; readonly tookMs: number };

/**
 * Writers that know nothing of each other attach to one image at once, in a registry without the referrers API and without conditional writes
 * (docker-registry 2.8). `writers` in each of `processes`.
 */
export async function race(
  options: { readonly rounds: number; readonly processes: number; readonly writers: number; readonly quietMs?: number },
  told: (round: Round) => void,
) {
  await using registry = await startRegistry();
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme/app' });
  await client.uploadBlob(blobOf(emptyConfig.bytes));
  const children = Array.from({ length: options.processes }, () => fork(join(import.meta.dirname, 'attach-writers.ts')));
  try {
    for (let round = 0; round < options.rounds; round++) {
      const subject = digestOf(`image ${round}`);
      const startedMs = performance.now();
      const answers = children.map((child, process) =>
        answered(child, {
          origin: registry.origin,
          subject,
          name: `${round}-${process}`,
          writers: options.writers,
          quietMs: options.quietMs ?? limits.fallbackQuietMs,
        }),
      );
      const ended = (await Promise.all(answers)).flat();
      const tookMs = performance.now() - startedMs;
      const there = new Set((await client.referrers(subject)).map(({ digest }) => String(digest)));
      const attached = ended.flatMap(({ attached }) => attached ?? []);
      assert.equal(new Set(attached).size, attached.length);
      told({
        attached: attached.length,
        lost: attached.filter((digest) => !there.has(digest)).length,
        failed: ended.flatMap(({ failed }) => failed ?? []),
        tookMs,
      });
    }
  } finally {
    for (const child of children) child.kill();
    client.close();
  }
}

async function answered(child: ChildProcess, work: Work): Promise<readonly Ended[]> {
  child.send(work);
  const ended = new AbortController();
  const end = (): void => ended.abort(new Error('a writer ended before it answered'));
  child.once('exit', end);
  const [answer]: readonly (readonly Ended[])[] = await once(child, 'message', { signal: ended.signal });
  child.off('exit', end);
  return answer ?? [];
}

// `node test/faults/attach-race.ts 100` measures: so many rounds of 50 writers in 2 processes.
if (import.meta.main) {
  const rounds = Number(process.argv[2] ?? 20);
  const processes = Number(process.argv[3] ?? 2);
  const writers = Number(process.argv[4] ?? 25);
  const quietMs = Number(process.argv[5] ?? limits.fallbackQuietMs);
  const all: Round[] = [];
  await race({ rounds, processes, writers, quietMs }, (round) => {
    all.push(round);
    console.log(
      `round ${all.length}: ${round.attached} attached, ${round.lost} lost, ${round.failed.length} failed, ${(round.tookMs / 1000).toFixed(1)} s ${round.failed[0] ?? ''}`,
    );
  });
  const attached = all.reduce((sum, round) => sum + round.attached, 0);
  const lost = all.reduce((sum, round) => sum + round.lost, 0);
  const bound = lost === 0 ? `, so fewer than 1 in ${Math.floor(attached / 3)} with 95 % confidence (3/N)` : '';
  console.log(`${lost} of ${attached} acknowledged attaches lost in ${rounds} rounds of ${processes} × ${writers}${bound}`);
}
