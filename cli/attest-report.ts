import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { type AttachmentRow, attachmentRows } from '../plugin/attachments.ts';
import { isTolerated } from '../plugin/failure.ts';
import type { Inputs } from '../plugin/inputs.ts';
import { contractLabel, type Found, type Outcome, unbrought } from '../plugin/outcome.ts';
import { messageOf } from '../plugin/words.ts';
import { type Context, print } from './context.ts';

/** What `chainloop attest` answers. */
export type AttestAnswer = {
  readonly status: Outcome['status'];
  readonly runId: string | null;
  /** The page of the run. */
  readonly url: string | null;
  readonly digest: string | null;
  readonly contract: string | null;
  /** What the contract requires, and nobody brought. */
  readonly missing: readonly string[];
  readonly bundle: string | null;
  /** The images that the bundle was to be put on. */
  readonly attachments: readonly AttachmentRow[];
};

export function answerOf({ status, found }: Outcome): AttestAnswer {
  const runId = found.crafting?.start.identity.runId || null;
  return {
    status,
    runId,
    url: runId === null || found.controlPlane === undefined ? null : `${found.controlPlane}/runs/${runId}`,
    digest: found.digest ?? null,
    contract: found.crafting === undefined ? null : contractLabel(found.crafting),
    missing: unbrought(found).map(({ name }) => name),
    bundle: found.bundlePath ?? null,
    attachments: attachmentRows(found.attachments ?? []),
  };
}

/** Prints the answer. Throws the error of an outcome that the job does not go on with, in words of the inputs. */
export function report(context: Context, outcome: Outcome, answer: AttestAnswer, inputs: Pick<Inputs, 'onViolation'>): void {
  const { status, error, found, reason } = outcome;
  const { log } = context;
  if (error !== undefined) {
    // A defect: its stack is for those who debug.
    if (error.code === 'INTERNAL' && error.cause !== undefined && !isChainloopError(error.cause)) throw error.cause;
    const spoken = inWords(error, found);
    // What is recorded is told, whatever came after it.
    if (status === 'passed') printAnswer();
    if (!isTolerated(outcome, inputs)) throw spoken;
    log.warn(status === 'deferred' ? `deferred, nothing is recorded: ${spoken.message}` : spoken.message);
    for (const { message } of spoken.problems) log.detail(message);
  }
  if (reason !== undefined) log.warn(`${reason}${status === 'skipped' ? ', so nothing is attested' : ''}`);
  printAnswer();

  function printAnswer(): void {
    print(context, answer, () => [
      {
        rows: [
          ['Status', status],
          ['Contract', answer.contract ?? ''],
          ['Run', answer.url ?? ''],
          ['Digest', answer.digest ?? ''],
        ],
      },
    ]);
  }
}

/** The error in terms of the inputs: its message, and every problem that is not in it. Claims stay as they are, and are shown as a table. */
function inWords(error: ChainloopError, found: Found): ChainloopError {
  if (error.problems.some(({ claim }) => claim !== undefined)) return error;
  const [first = '', ...others] = messageOf(error, found).split('\n');
  const problems = others.filter((line) => line !== '').map((message) => ({ message }));
  return new ChainloopError(error.code, first, { problems, cause: error });
}
