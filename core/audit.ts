import { createHash } from 'node:crypto';
import * as z from 'zod';
import { ChainloopError } from './errors.ts';
import { limits } from './limits.ts';

/**
 * Who has done something, as the audit log says it. `owner`: the owner token of the instance; `person`: a member who is logged in; `job`: the
 * run credential of a federated job; `system`: the control plane by itself, its name says which part; `database`: a user of the database who
 * went past the control plane.
 */
export const AuditActor = z.strictObject({
  kind: z.enum(['owner', 'person', 'api-token', 'service-account', 'job', 'system', 'database']),
  /** Of the token, the member or the run credential. */
  id: z.string().nullable(),
  name: z.string(),
});
export type AuditActor = z.infer<typeof AuditActor>;

const Hash = z.string().regex(/^[0-9a-f]{64}$/);

/** A row of the audit log. What is hashed is its text, byte for byte, and not what is read from it. */
export const AuditEntry = z.strictObject({
  version: z.literal(1),
  /** Whose chain it is; the nil UUID: that of the instance. */
  organization: z.guid(),
  /** From 1, without gaps. */
  sequence: z.int().positive(),
  at: z.iso.datetime({ precision: 6 }),
  actor: AuditActor,
  /** `<kind of resource>.<verb>` */
  action: z.string(),
  resource: z.strictObject({ kind: z.string(), name: z.string() }),
  details: z.record(z.string(), z.unknown()),
  /** The hash of the row before; zeros before the first. */
  previous: Hash,
});
export type AuditEntry = z.infer<typeof AuditEntry>;

/** The end of a chain: how many rows it has, and the hash of the last, which stands for all of them. */
export type AuditHead = { readonly sequence: number; readonly hash: string };

/** Before the first row. */
const start: AuditHead = { sequence: 0, hash: '0'.repeat(64) };

/** A head as it is shown and kept: `<sequence>:<hash>`. */
export function formatHead({ sequence, hash }: AuditHead): string {
  return `${sequence}:${hash}`;
}

/** The head in the text. Throws USAGE. */
export function parseHead(text: string): AuditHead {
  const [, sequence, hash] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (sequence !== undefined && hash !== undefined) return { sequence: Number(sequence), hash };
  throw new ChainloopError(
    'USAGE',
    `head: '${text.slice(0, 100)}' is not one; it looks like 42:<64 hex digits>, as audit verify prints it`,
  );
}

/** A row as it is exported, on a line: its text, and what its hash is said to be. */
export function formatAuditLine(entry: string, hash: string): string {
  return `{"entry":${entry},"hash":"${hash}"}`;
}

const line = /^\{"entry":(\{.*\}),"hash":"([0-9a-f]{64})"\}$/s;

/** What a check has found good. */
export type AuditChecked = {
  readonly organization: string | undefined;
  readonly first: number;
  readonly head: AuditHead;
  readonly rows: number;
};

/** Looks at the rows of one chain, in their order, one by one: it keeps the last one alone. */
export type AuditCheck = {
  /** The next row. Throws AUDIT_ALTERED for the first that is not what was written, by its number. */
  next(text: string): AuditEntry;
  /** After the last one. `claimed` is where the log says that it ends. Throws AUDIT_ALTERED when rows are missing there. */
  end(claimed?: AuditHead): AuditChecked;
};

/**
 * A check of a chain. Every hash is computed here. `from`: what comes before the first row; without it, a file may begin anywhere. `kept`: a head
 * that somebody kept, which the chain must go through.
 */
export function createAuditCheck({
  from,
  kept,
}: {
  readonly from?: 'start' | undefined;
  readonly kept?: AuditHead | undefined;
}): AuditCheck {
  let last: AuditHead | undefined = from === 'start' ? start : undefined;
  let organization: string | undefined;
  let first = 0;
  let rows = 0;

  function compareWithKept(found: AuditHead): void {
    if (kept === undefined || found.sequence !== kept.sequence || found.hash === kept.hash) return;
    throw altered(
      `row ${kept.sequence} is not the one whose hash was kept: it, or a row before it, was altered, removed or added, and the hashes behind it were made anew`,
    );
  }

  return {
    next(text) {
      const expected = last === undefined ? undefined : last.sequence + 1;
      const [, body, hash] = text.length <= limits.auditLineLength ? (line.exec(text) ?? []) : [];
      const entry = body === undefined ? undefined : parseEntry(body);
      if (body === undefined || hash === undefined || entry === undefined) {
        throw altered(`${expected === undefined ? 'the first line' : `what stands for row ${expected}`} is no row of an audit log`);
      }
      const { sequence, previous } = entry;
      if (expected !== undefined && sequence > expected) {
        throw altered(`${expected === sequence - 1 ? `row ${expected} was` : `rows ${expected} to ${sequence - 1} were`} removed`);
      }
      if (expected !== undefined && sequence < expected)
        throw altered(`row ${sequence} stands where row ${expected} should: it was added, or moved`);
      if (organization !== undefined && entry.organization !== organization) throw altered(`row ${sequence} is of another organization`);
      if (createHash('sha256').update(body).digest('hex') !== hash) {
        throw altered(`row ${sequence} was altered: its hash is not that of what it says (${entry.action} ${entry.resource.name})`);
      }
      if (last !== undefined && previous !== last.hash) {
        throw altered(
          `row ${sequence} does not follow row ${last.sequence} as that is now: one of them was replaced, and its hash made anew`,
        );
      }
      if (last === undefined) {
        first = sequence;
        compareWithKept({ sequence: sequence - 1, hash: previous });
      }
      last = { sequence, hash };
      if (rows === 0) first = sequence;
      organization = entry.organization;
      rows += 1;
      compareWithKept(last);
      return entry;
    },
    end(claimed) {
      const head = last ?? start;
      for (const [end, who] of [
        [claimed, 'the log'],
        [kept, 'the head that was kept'],
      ] as const) {
        if (end !== undefined && end.sequence > head.sequence) {
          const missing =
            end.sequence === head.sequence + 1 ? `row ${end.sequence} was` : `rows ${head.sequence + 1} to ${end.sequence} were`;
          throw altered(`${missing} removed: ${who} ends at ${end.sequence}, and the last row is ${head.sequence}`);
        }
      }
      if (claimed !== undefined && claimed.sequence === head.sequence && claimed.hash !== head.hash) {
        throw altered(`row ${head.sequence} is not the one that the log ends with: it was replaced, and its hash made anew`);
      }
      if (kept !== undefined && rows > 0 && kept.sequence < first - 1) {
        throw new ChainloopError('USAGE', `head: row ${kept.sequence} is not among those that are checked, which begin at ${first}`);
      }
      return { organization, first, head, rows };
    },
  };
}

function parseEntry(text: string): AuditEntry | undefined {
  try {
    return AuditEntry.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function altered(what: string): ChainloopError {
  return new ChainloopError('AUDIT_ALTERED', `audit log: ${what}; compare it with an export, or with a backup, from before`);
}
