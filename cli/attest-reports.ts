import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '../core/adapters/files.ts';
import { junitOf } from '../plugin/junit.ts';
import type { Outcome } from '../plugin/outcome.ts';
import { summaryOf } from '../plugin/summary.ts';
import type { AttestAnswer } from './attest-report.ts';

/** What a CI system shows of an attestation, or hands on. The bundle is written as soon as there is one. */
export const reportFiles = {
  summary: 'chainloop-summary.md',
  bundle: 'chainloop-bundle.json',
  variables: 'chainloop.env',
  junit: 'chainloop-junit.xml',
} as const;

/** Writes them into a folder; the answer is what could not be written. */
export async function writeReports(folder: string, outcome: Outcome, answer: AttestAnswer): Promise<readonly string[]> {
  const texts = {
    [reportFiles.summary]: summaryOf(outcome, answer.url ?? undefined, { bundleLasts: true }),
    [reportFiles.junit]: junitOf(outcome),
    [reportFiles.variables]: variablesOf(answer),
  };
  const failures: string[] = [];
  await mkdir(folder, { recursive: true }).catch(() => undefined);
  for (const [name, text] of Object.entries(texts)) {
    await writeFileAtomically(join(folder, name), Buffer.from(text), 0o644).catch((error: unknown) => {
      failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    });
  }
  return failures;
}

/** GitLab, `artifacts:reports:dotenv`: for the jobs that follow. No name is one that `chainloop attest` reads. */
function variablesOf({ status, runId, url, digest, missing }: AttestAnswer): string {
  const variables = {
    CHAINLOOP_STATUS: status,
    CHAINLOOP_RUN_ID: runId ?? '',
    CHAINLOOP_RUN_URL: url ?? '',
    CHAINLOOP_DIGEST: digest ?? '',
    CHAINLOOP_MISSING: missing.join(','),
  };
  return Object.entries(variables)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}
