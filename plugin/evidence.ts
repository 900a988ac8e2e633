import { basename, relative, resolve } from 'node:path';
import { findFile } from '../core/adapters/paths.ts';
import type { Contract, ContractMaterial } from '../core/contract.ts';
import { ChainloopError, type ErrorCode, isChainloopError, type Problem } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { checkKind, kinds } from '../core/material.ts';
import type { MaterialLine } from '../core/material-lines.ts';
import { didYouMean } from '../core/nearest.ts';
import type { Files, ImageResolver } from '../core/ports.ts';
import { printable } from '../core/source/place.ts';

/** A line of the input, understood: its name is in the contract, its file is there and of the kind that is wanted, its image resolved. */
export type Evidence = {
  readonly wanted: ContractMaterial;
  /** The text, the path of one file, or the image. */
  readonly value: string;
  readonly source: 'text' | 'file' | 'image';
};

export type EvidencePorts = { readonly files: Files; readonly images: ImageResolver; readonly directory: string };

/** How many files are read, and images resolved, at the same time. */
const atOnce = 4;

/**
 * What the lines mean under a contract. Optional materials whose file is not there are left out, and said to be. Throws one error with every
 * problem of every line; nothing was uploaded by then.
 */
export async function understand(
  ports: EvidencePorts,
  { materials }: Contract,
  lines: readonly MaterialLine[],
): Promise<{ readonly evidence: readonly Evidence[]; readonly absent: readonly MaterialLine[] }> {
  const absent: MaterialLine[] = [];
  const failures: { readonly line: MaterialLine; readonly error: ChainloopError }[] = [];
  const evidence = await inTurns(lines, async (line) => {
    try {
      return await one(line);
    } catch (error) {
      if (!isChainloopError(error)) throw error;
      failures.push({ line, error });
      return undefined;
    }
  });
  if (failures.length > 0) throw together(failures.toSorted((a, b) => lines.indexOf(a.line) - lines.indexOf(b.line)));
  return { evidence: evidence.filter((item) => item !== undefined), absent };

  async function one(line: MaterialLine): Promise<Evidence | undefined> {
    const wanted = materials.find(({ name }) => name === line.name);
    if (wanted === undefined) {
      const names = materials.map(({ name }) => name);
      const known = names.length === 0 ? 'it asks for none' : `it has: ${names.slice(0, limits.problems).join(', ')}`;
      throw new ChainloopError('MATERIAL_UNKNOWN', `the contract has no such material (${known})${didYouMean(line.name, names)}`);
    }
    if (line.kind !== undefined && line.kind !== wanted.type)
      throw new ChainloopError('MATERIAL_KIND_MISMATCH', `${line.kind} is written; the contract asks for ${wanted.type}`);
    const { source } = kinds[wanted.type];
    if (source !== 'file' && line.excludes.length > 0)
      throw new ChainloopError('USAGE', `'!' leaves files out, and this is of kind ${wanted.type}`);
    switch (source) {
      case 'text':
        return { wanted, source, value: line.value };
      case 'image':
        await ports.images.resolve(line.value);
        return { wanted, source, value: line.value };
      case 'file': {
        const value = await pathOf(line, wanted);
        if (value === undefined) return undefined;
        if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(basename(value)))
          throw new ChainloopError('USAGE', `the name of ${printable(value, 200)} has a character that nobody sees; rename the file`);
        // Relative where it can be: the path is in messages.
        const path = relative(process.cwd(), resolve(ports.directory, value)) || '.';
        await using file = await ports.files.open(path, kinds[wanted.type].mediaType);
        await checkKind(wanted.type, file);
        return { wanted, source, value };
      }
    }
  }

  async function pathOf(line: MaterialLine, wanted: ContractMaterial): Promise<string | undefined> {
    try {
      return await findFile(line.value, { directory: ports.directory, excludes: line.excludes });
    } catch (error) {
      if (!wanted.optional || !isChainloopError(error, 'FILE_NOT_FOUND')) throw error;
      absent.push(line);
      return undefined;
    }
  }
}

/** One error for all lines that are wrong. Its code is that of the first: the contract's, where one of them is. */
function together(failures: readonly { readonly line: MaterialLine; readonly error: ChainloopError }[]): ChainloopError {
  const problems = failures.flatMap(({ line, error }): Problem[] => {
    const message = `material "${line.name}": ${withoutPrefix(error.message, line.name)}`;
    const details = error.problems.filter((problem) => problem.message !== error.message);
    return [{ path: line.name, file: line.file, line: line.line, message }, ...details.map((problem) => inDocument(problem, line))];
  });
  const ranked = failures.map(({ error }) => error.code).sort((a, b) => rank(a) - rank(b));
  const count = failures.length === 1 ? '1 material is' : `${failures.length} materials are`;
  return new ChainloopError(ranked[0] ?? 'USAGE', `${count} not right; nothing was uploaded`, {
    problems: problems.slice(0, 3 * limits.problems),
  });
}

function inDocument({ message, path, line, column }: Problem, { name, value }: MaterialLine): Problem {
  const place = [line, column].filter((part) => part !== undefined).join(':');
  const where = [place === '' ? undefined : `${printable(basename(value))}:${place}`, path].filter(
    (part) => part !== undefined && part !== '',
  );
  return { path: name, message: `material "${name}": ${[...where, message].join(': ')}` };
}

function rank(code: ErrorCode): number {
  return code.startsWith('MATERIAL_') ? 0 : 1;
}

function withoutPrefix(message: string, name: string): string {
  const prefix = `material '${name}': `;
  return message.startsWith(prefix) ? message.slice(prefix.length) : message;
}

/** Runs a few at a time; the answers in the order of the questions. */
export async function inTurns<T, R>(items: readonly T[], run: (item: T) => Promise<R>): Promise<R[]> {
  const answers: R[] = [];
  const queue = items.entries();
  const worker = async (): Promise<void> => {
    for (const [index, item] of queue) answers[index] = await run(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return answers;
}
