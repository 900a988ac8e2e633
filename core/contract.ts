import * as z from 'zod';
import { acceptsSigning } from './completeness.ts';
import { schemaFindings } from './contract/findings.ts';
import { crossFieldFindings } from './contract/rules.ts';
import { Contract, type ContractMaterial, DocumentV1, DocumentV2, type SigningWay } from './contract/schema.ts';
import { type Digest, digestOf } from './digest.ts';
import { ChainloopError } from './errors.ts';
import { limits } from './limits.ts';
import { parseSource } from './source.ts';

export { Contract, type ContractMaterial, type SigningWay };

/** A contract as it was written: with the name that it gives itself, which only the second schema has. */
export type NamedContract = { readonly name?: string | undefined; readonly contract: Contract };

const rules = {
  name: 'contract',
  code: 'CONTRACT_INVALID',
  maxBytes: limits.contractSizeBytes,
  maxValues: limits.contractValues,
} as const;

/**
 * The contract in a YAML or JSON text, of either schema (docs/contract.md). Throws CONTRACT_INVALID with every problem's line, column
 * and path (at most `limits.problems` of them), LIMIT_EXCEEDED above `limits.contractSizeBytes`.
 */
export function parseContract(text: string, format: 'yaml' | 'json'): NamedContract {
  const source = parseSource(text, format, rules);
  const { schema, path } = schemaOf(source.value);
  const findings = [
    ...source.findings,
    ...schemaFindings(schema, source.value),
    ...crossFieldFindings(path === undefined ? source.value : member(source.value, path)).map((finding) => ({
      ...finding,
      path: path === undefined ? finding.path : [path, ...finding.path],
    })),
  ];
  return findings.length > 0 ? source.refuse(findings) : normalise(source.value);
}

/** The contract in a value that came from elsewhere, such as evaluated CUE. Throws as `parseContract` does; there are paths, but no lines. */
export function contractFromValue(value: unknown): NamedContract {
  try {
    return parseContract(JSON.stringify(value) ?? 'null', 'json');
  } catch (error) {
    if (!(error instanceof ChainloopError)) throw new ChainloopError('CONTRACT_INVALID', 'contract: not a JSON value', { cause: error });
    const problems = error.problems.map(({ message, path }) => ({ message, path }));
    throw new ChainloopError(error.code, error.message, { problems });
  }
}

/**
 * The identity of what a contract asks for: equal for texts that differ only in schema, language, comments, white space, order of keys,
 * or in spelling defaults out; ways to sign that are all say nothing. The order of materials, variables and annotations says nothing either: the statement sorts them.
 */
export function contractDigest(contract: Contract): Digest {
  const byName = (a: { readonly name: string }, b: { readonly name: string }): number => (a.name < b.name ? -1 : 1);
  const annotations = (list: Contract['annotations']) => list.toSorted(byName).map(({ name, value }) => [name, value]);
  const canonical = [
    contract.materials
      .toSorted(byName)
      .map((material) => [
        material.name,
        material.type,
        material.optional,
        material.output,
        material.skipUpload,
        material.group ?? null,
        annotations(material.annotations),
      ]),
    contract.envAllowList.toSorted(),
    contract.runner?.type ?? null,
    annotations(contract.annotations),
    ...(contract.signing === undefined || all.every((way) => acceptsSigning(contract, way)) ? [] : [leastWays(contract.signing)]),
  ];
  return digestOf(JSON.stringify(canonical));
}

const all: readonly SigningWay[] = ['key', 'keyless', 'sigstore'];

/** Without what another way includes. */
function leastWays(ways: readonly SigningWay[]): readonly SigningWay[] {
  return ways.filter((way) => way !== 'sigstore' || !ways.includes('keyless')).toSorted();
}

/** The language of a contract file: by its name, else by how it begins. */
export function guessFormat(fileName: string, text: string): 'yaml' | 'json' | 'cue' {
  const extension = /\.(json|ya?ml|cue)$/i.exec(fileName)?.[1]?.toLowerCase();
  if (extension !== undefined) return extension === 'json' || extension === 'cue' ? extension : 'yaml';
  if (/^\uFEFF?\s*\{\s*["}]/.test(text)) return 'json';
  return /^\s*(?:\/\/|package\s|import[\s(]|\{)/.test(text) ? 'cue' : 'yaml';
}

/** The JSON Schema of both contract schemas, for editors; published as docs/contract.schema.json. It cannot say the rules between fields. */
export function contractJsonSchema(): unknown {
  const { $schema, ...schema } = z.toJSONSchema(z.union([DocumentV1, DocumentV2]), { io: 'input', target: 'draft-7' });
  return { $schema, title: 'Chainloop contract', ...schema };
}

/** Either key of the second schema's envelope chooses it, so that a mistake in the other one is found as such. */
function schemaOf(value: unknown): { schema: typeof DocumentV1 | typeof DocumentV2; path?: 'spec' } {
  const isSecond = ['apiVersion', 'kind', 'metadata', 'spec'].some((key) => member(value, key) !== undefined);
  return isSecond ? { schema: DocumentV2, path: 'spec' } : { schema: DocumentV1 };
}

function normalise(value: unknown): NamedContract {
  const second = DocumentV2.safeParse(value);
  if (second.success) return { name: second.data.metadata.name, contract: second.data.spec };
  const { schemaVersion: _, ...contract } = DocumentV1.parse(value);
  return { contract };
}

function member(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
}
