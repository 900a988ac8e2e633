import { appendFileSync } from 'node:fs';
import * as core from '@actions/core';
import type { CraftedMaterial } from '../core/crafting.ts';
import { attachmentRows } from '../plugin/attachments.ts';
import { isTolerated } from '../plugin/failure.ts';
import type { Inputs } from '../plugin/inputs.ts';
import { contractLabel, jobOf, type Outcome, subjects, unbrought } from '../plugin/outcome.ts';
import { summaryOf } from '../plugin/summary.ts';
import { messageOf, titleOf } from '../plugin/words.ts';
import { setOutput } from './command-file.ts';
import { annotate, say } from './log.ts';

/** Tells the job and its readers how the step ended: outputs, annotations, the summary, the last lines of the log, the exit code. */
export function report(outcome: Outcome, options: Pick<Inputs, 'showSummary' | 'onViolation'>): void {
  const { status, error, found, reason } = outcome;
  const url = urlOf(outcome);
  for (const [name, value] of Object.entries(outputsOf(outcome, url))) setOutput(name, value);
  const label = found.crafting === undefined ? undefined : contractLabel(found.crafting);
  if (error !== undefined) {
    const tolerated = isTolerated(outcome, options);
    const title = titles[status] ?? titleOf(error, label);
    const where = error.code === 'RUN_ALREADY_FINISHED' ? pageNamedIn(error.message, found.controlPlane) : '';
    annotate(tolerated ? 'warning' : 'error', title, `${messageOf(error, found)}${where}`);
    if (!tolerated) process.exitCode = core.ExitCode.Failure;
  }
  if (status === 'skipped') annotate('notice', 'Chainloop: skipped', `${reason}, so nothing is attested`);
  const { GITHUB_STEP_SUMMARY } = process.env;
  if (options.showSummary && GITHUB_STEP_SUMMARY) {
    try {
      appendFileSync(GITHUB_STEP_SUMMARY, summaryOf(outcome, url, { bundleLasts: false }));
    } catch (cause) {
      say(`The summary could not be written: ${cause instanceof Error ? cause.message : cause}`);
    }
  }
  say(`Attestation ${status}${url === undefined ? '' : `: ${url}`}`);
  if (found.digest !== undefined) say(`Digest ${found.digest}`);
}

const titles: Partial<Record<Outcome['status'], string>> = {
  deferred: 'Chainloop: attestation deferred, nothing is recorded',
  passed: 'Chainloop: recorded, but not attached to every image',
};

/** Every output, always: one that is not known is empty, or an empty list. */
function outputsOf({ status, found }: Outcome, url: string | undefined): Record<string, string> {
  const { crafting, digest, bundlePath, jobs } = found;
  const identity = crafting?.start.identity;
  return {
    status,
    'attestation-id': identity?.runId ?? '',
    digest: digest ?? '',
    url: url ?? '',
    'bundle-path': bundlePath ?? '',
    'contract-revision': identity === undefined || identity.contractRevision === 0 ? '' : String(identity.contractRevision),
    'missing-materials': JSON.stringify(unbrought(found).map(({ name }) => name)),
    materials: JSON.stringify((crafting?.materials ?? []).map((material) => rowOf(material, jobs.get(material.name), found))),
    attachments: JSON.stringify(attachmentRows(found.attachments ?? [])),
    subjects: JSON.stringify(
      crafting === undefined ? [] : subjects(crafting).map(({ name, fileName, digest }) => ({ name: fileName ?? name, digest })),
    ),
  };
}

function rowOf(material: CraftedMaterial, job: string | undefined, { controlPlane, crafting }: Outcome['found']) {
  const { name, type, digest, value, fileName, uploaded } = material;
  const { name: jobName, attempt } = jobOf(job ?? '');
  const host = controlPlane === undefined ? '' : new URL(controlPlane).host;
  const stored =
    uploaded && digest !== undefined
      ? `${host}/${crafting?.start.identity.organization}:material-${digest.replace('sha256:', '')}`
      : undefined;
  const uri = type === 'CONTAINER_IMAGE' ? `${fileName}@${digest}` : stored;
  return {
    name,
    kind: type,
    ...(digest === undefined ? { value } : { digest }),
    ...(uri === undefined ? {} : { uri }),
    ...(job === undefined ? {} : { job: jobName }),
    ...(attempt === undefined ? {} : { attempt }),
  };
}

/** The page of the run. */
function urlOf({ found: { controlPlane, crafting } }: Outcome): string | undefined {
  const runId = crafting?.start.identity.runId;
  return controlPlane === undefined || runId === undefined || runId === '' ? undefined : `${controlPlane}/runs/${runId}`;
}

/** `; see <page>` of the run that a message names. */
function pageNamedIn(message: string, controlPlane: string | undefined): string {
  const [runId] = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(message) ?? [];
  return runId === undefined || controlPlane === undefined ? '' : `; see ${controlPlane}/runs/${runId}`;
}
