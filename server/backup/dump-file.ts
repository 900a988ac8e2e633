import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import * as z from 'zod';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { Dumped } from '../../db/dump.ts';
import type { DumpedRow } from '../../db/load.ts';

const End = z.strictObject({ $end: Dumped });

/**
 * The rows of a dump (db/dump.ts) in a compressed file, then what it says of itself, once it was found to be so: every table has as many rows
 * as it says, and those. DIGEST_MISMATCH when the file is cut off or was changed.
 */
export async function* readDump(path: string): AsyncGenerator<DumpedRow, Dumped> {
  const found = new Map<string, { rows: number; hash: ReturnType<typeof createHash> }>();
  let end: Dumped | undefined;
  for await (const line of linesOf(path)) {
    if (end !== undefined) throw damaged(path, 'something stands behind its end');
    const text = line.toString('utf8', 0, line.length - 1);
    if (text.startsWith('{"$end":')) {
      end = parseEnd(path, text);
      continue;
    }
    const [prefix, table] = /^\{"(\w+)":/.exec(text) ?? [];
    if (prefix === undefined || table === undefined) throw damaged(path, 'a line is not a row');
    const counted = found.get(table) ?? { rows: 0, hash: createHash('sha256') };
    found.set(table, counted);
    counted.rows += 1;
    counted.hash.update(line);
    yield { table, json: text.slice(prefix.length, -1) };
  }
  if (end === undefined) throw damaged(path, 'its end is missing');
  const { tables } = end;
  const wrong = [...new Set([...found.keys(), ...Object.keys(tables)])].filter((table) => {
    const { rows, hash } = found.get(table) ?? { rows: 0, hash: createHash('sha256') };
    return tables[table]?.rows !== rows || tables[table]?.sha256 !== hash.digest('hex');
  });
  if (wrong.length > 0) throw damaged(path, `the rows of ${wrong.join(', ')} are not those that were written`);
  return end;
}

function parseEnd(path: string, text: string): Dumped {
  try {
    return End.parse(JSON.parse(text)).$end;
  } catch (cause) {
    throw damaged(path, 'its last line cannot be read', cause);
  }
}

/** Lines of a gzip file, with their ends. Not readline: it also ends lines at U+2028, which JSON may contain. */
export async function* linesOf(path: string): AsyncGenerator<Buffer> {
  const gunzip = createGunzip();
  const piped = pipeline(createReadStream(path, { highWaterMark: 512 * 1024 }), gunzip);
  piped.catch(() => {});
  try {
    let rest: Buffer[] = [];
    let restBytes = 0;
    for await (const chunk of gunzip) {
      const piece = z.instanceof(Buffer).parse(chunk);
      let start = 0;
      for (let at = piece.indexOf(10); at >= 0; at = piece.indexOf(10, start)) {
        const tail = piece.subarray(start, at + 1);
        yield rest.length === 0 ? tail : Buffer.concat([...rest, tail]);
        [rest, restBytes, start] = [[], 0, at + 1];
      }
      if (start === piece.length) continue;
      rest.push(piece.subarray(start));
      restBytes += piece.length - start;
      if (restBytes > limits.backupRowSizeBytes) throw damaged(path, 'a line is too long');
    }
    if (rest.length > 0) throw damaged(path, 'it ends in the middle of a line');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && String(cause.code).startsWith('Z_'))
      throw damaged(path, 'it cannot be unpacked', cause);
    throw cause;
  } finally {
    gunzip.destroy();
  }
}

export function damaged(path: string, what: string, cause?: unknown): ChainloopError {
  return new ChainloopError('DIGEST_MISMATCH', `backup: ${path} is cut off or was changed: ${what}`, { cause });
}
