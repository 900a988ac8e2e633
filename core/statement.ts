import type * as z from 'zod';
import { toBase64 } from './base64.ts';
import type { SealedCrafting } from './completeness.ts';
import type { CraftedMaterial, GitHead } from './crafting.ts';
import { digestOf, hexOf, parseDigest } from './digest.ts';
import { ChainloopError, type Problem } from './errors.ts';
import { limits } from './limits.ts';
import { readJson } from './source/json.ts';
import { type Finding, formatPath, printable } from './source/place.ts';
import {
  buildType,
  type GitSubject,
  predicateType,
  Statement,
  type StatementMaterial,
  type Subject,
  statementType,
} from './statement/schema.ts';
import { byName, expectedSubjects, present } from './statement/subjects.ts';

export { Statement } from './statement/schema.ts';
export { expectedSubjects } from './statement/subjects.ts';

/**
 * The statement of a crafting that is complete, as the bytes to sign: JSON without white space, keys in the order of the schema, maps
 * sorted. The same crafting, time and builder give the same bytes. LIMIT_EXCEEDED beyond `limits.statementSizeBytes`; STATEMENT_INVALID when a name is longer than the schema allows.
 */
export function buildStatement(
  sealed: SealedCrafting,
  origin: {
    readonly finishedAt: Date /** `chainloop.dev/cli/<version>@sha256:<digest of what crafted it>`. */;
    readonly builderId: string;
  },
): Uint8Array {
  const { start, materials } = sealed;
  const { identity, runner } = start;
  const result = Statement.safeParse({
    _type: statementType,
    predicateType,
    subject: expectedSubjects(materials, start.contract, start.head),
    predicate: {
      buildType,
      builder: { id: origin.builderId },
      metadata: present({
        name: identity.workflowName,
        workflowName: identity.workflowName,
        project: identity.project,
        team: identity.team,
        organization: identity.organization,
        workflowID: identity.workflowId,
        workflowRunID: identity.runId,
        contractName: identity.contractName,
        contractVersion: identity.contractRevision === 0 ? undefined : String(identity.contractRevision),
        initializedAt: start.initializedAt,
        finishedAt: origin.finishedAt.toISOString(),
      }),
      env: start.env,
      ...present({ runnerType: runner.type, runnerURL: runner.url }),
      runnerAuthenticated: runner.authenticated,
      ...present({ runnerEnvironment: runner.environment, runnerWorkflowFilePath: runner.workflowFilePath }),
      materials: byName(materials).map(describeMaterial),
      annotations: start.annotations,
    },
  });
  if (!result.success) throw refuse(result.error.issues.flatMap((issue) => flatten(issue)));
  const bytes = new Uint8Array(Buffer.from(canonicalText(result.data)));
  if (bytes.byteLength > limits.statementSizeBytes) throw tooLarge(bytes.byteLength);
  return bytes;
}

/**
 * Reads the bytes of a statement: only what `buildStatement` writes, byte for byte. Duplicate or unknown keys, another order, white
 * space, and anything that the schema does not have are STATEMENT_INVALID with all problems; LIMIT_EXCEEDED for the size.
 */
export function parseStatement(bytes: Uint8Array): Statement {
  if (bytes.byteLength > limits.statementSizeBytes) throw tooLarge(bytes.byteLength);
  const text = decode(bytes);
  const stop = (findings: readonly Finding[]): never => {
    throw refuse(findings);
  };
  const { value, findings } = readJson(text, { depth: limits.nestingDepth, values: Number.POSITIVE_INFINITY }, stop);
  if (findings.length > 0) stop(findings);
  const result = Statement.safeParse(value);
  if (!result.success) throw refuse(result.error.issues.flatMap((issue) => flatten(issue)));
  if (canonicalText(result.data) !== text) {
    throw invalid('its keys are in another order, or it has white space or escapes that are not needed; send the bytes that were signed');
  }
  return result.data;
}

/** The evidence that a statement speaks of, as it was crafted. */
export function materialsOf(statement: Statement): CraftedMaterial[] {
  return statement.predicate.materials.map((material): CraftedMaterial => {
    const annotations = material.annotations['chainloop.material.annotations'] ?? {};
    const name = material.annotations['chainloop.material.name'];
    if ('content' in material) {
      return { name, type: 'STRING', value: Buffer.from(material.content, 'base64').toString('utf8'), uploaded: false, annotations };
    }
    return {
      name,
      type: material.annotations['chainloop.material.type'],
      digest: parseDigest(`sha256:${material.digest.sha256}`),
      fileName: material.name,
      ...present({ sizeBytes: material.annotations['chainloop.material.size'], tag: material.annotations['chainloop.material.image.tag'] }),
      uploaded: material.annotations['chainloop.material.cas'] === true,
      annotations,
    };
  });
}

/** The commit that a statement speaks of, or undefined. */
export function headOf(statement: Statement): GitHead | undefined {
  const subject = statement.subject.find(isGitSubject);
  if (subject === undefined) return undefined;
  const { digest, annotations = {} } = subject;
  return {
    commit: 'sha1' in digest ? digest.sha1 : digest.gitCommit,
    ...present({
      authorName: annotations['author.name'],
      authorEmail: annotations['author.email'],
      date: annotations.date,
      message: annotations.message,
      parents: annotations.parents,
    }),
    remotes: annotations.remotes ?? [],
  };
}

function isGitSubject(subject: Subject): subject is GitSubject {
  return !('sha256' in subject.digest);
}

function describeMaterial(material: CraftedMaterial): StatementMaterial {
  const { name, type, value = '', fileName, digest } = material;
  const annotations = Object.keys(material.annotations).length === 0 ? undefined : material.annotations;
  if (type === 'STRING') {
    return {
      digest: { sha256: hexOf(digestOf(value)) },
      content: toBase64(Buffer.from(value)),
      annotations: {
        'chainloop.material.name': name,
        'chainloop.material.type': 'STRING',
        ...present({ 'chainloop.material.annotations': annotations }),
      },
    };
  }
  if (digest === undefined) throw new Error(`material '${name}' has no digest, so it cannot have been sealed`);
  return {
    name: fileName ?? name,
    digest: { sha256: hexOf(digest) },
    annotations: {
      'chainloop.material.name': name,
      'chainloop.material.type': type,
      ...(material.uploaded ? { 'chainloop.material.cas': true } : {}),
      ...present({
        'chainloop.material.size': material.sizeBytes,
        'chainloop.material.image.tag': material.tag,
        'chainloop.material.annotations': annotations,
      }),
    },
  };
}

/** Objects come out of the schema with their keys in its order; maps keep theirs, so they are sorted here. */
function canonicalText(statement: Statement): string {
  const { predicate } = statement;
  return JSON.stringify({
    ...statement,
    predicate: {
      ...predicate,
      env: sorted(predicate.env),
      materials: predicate.materials.map((material) => {
        const values = material.annotations['chainloop.material.annotations'];
        if (values === undefined) return material;
        return { ...material, annotations: { ...material.annotations, 'chainloop.material.annotations': sorted(values) } };
      }),
      annotations: sorted(predicate.annotations),
    },
  });
}

function sorted(values: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new ChainloopError('STATEMENT_INVALID', 'statement: it is not UTF-8', { cause });
  }
}

/** A union says only that no branch fits; what is wrong stands in the branch that came closest. */
function flatten(issue: z.core.$ZodIssue, parents: readonly PropertyKey[] = []): Finding[] {
  const path = [...parents, ...issue.path];
  if (issue.code === 'invalid_union') {
    const [closest] = issue.errors.toSorted((a, b) => a.length - b.length);
    if (closest !== undefined && closest.length > 0) return closest.flatMap((inner) => flatten(inner, path));
  }
  if (issue.code === 'unrecognized_keys')
    return [
      {
        path,
        message: `has unknown keys: ${issue.keys
          .slice(0, 5)
          .map((key) => printable(key))
          .join(', ')}`,
      },
    ];
  return [{ path, message: issue.message }];
}

function refuse(findings: readonly Finding[]): ChainloopError {
  const problems = findings.slice(0, limits.problems).map(({ path, message }): Problem => ({ path: formatPath(path), message }));
  const [first] = problems;
  const detail = first !== undefined && findings.length === 1 ? `${first.path} ${first.message}`.trim() : `${findings.length} problems`;
  return new ChainloopError('STATEMENT_INVALID', `statement: ${detail}`, { problems });
}

function invalid(message: string): ChainloopError {
  return new ChainloopError('STATEMENT_INVALID', `statement: ${message}`);
}

function tooLarge(sizeBytes: number): ChainloopError {
  return new ChainloopError('LIMIT_EXCEEDED', `statement: ${sizeBytes} bytes; the limit is ${limits.statementSizeBytes} bytes`);
}
