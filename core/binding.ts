import * as z from 'zod';
import { type IssuerKind, issuerKinds } from './claims.ts';
import { schemaFindings } from './contract/findings.ts';
import { limits } from './limits.ts';
import { Name } from './names.ts';
import type { Finding } from './source/place.ts';
import { parseSource } from './source.ts';

/** Events that let in a job, unless the binding names its own. None of them runs what a stranger wrote. */
const defaultEvents: Readonly<Record<IssuerKind, readonly string[]>> = {
  github: ['push', 'release', 'workflow_dispatch', 'schedule'],
  gitlab: ['push', 'web', 'schedule'],
};

const word = z.string().min(1).max(255);
const entries = <T extends z.ZodType>(entry: T) => z.array(entry).min(1, 'name at least one').max(limits.bindingEntries);
const NumericId = z.string().regex(/^[0-9]{1,20}$/, 'must be digits in quotes');
/** Only a trailing `*`, and only after the kind of ref: nothing else is ever matched by pattern. */
const Ref = z
  .string()
  .max(1024)
  .regex(
    /^refs\/(heads|tags|pull|merge-requests)\/([^\s*]+\*?|\*)$/,
    'must be a full ref, such as refs/heads/main; a * may stand at its end only',
  );

const Document = z.strictObject({
  workflow: z
    .string()
    .max(3 * limits.nameLength + 2)
    .regex(/^[-a-z0-9]+(\/[-a-z0-9]+){0,2}$/, 'must be workflow, project/workflow or organization/project/workflow'),
  project: Name.optional(),
  issuer: z.string().min(1).max(1024),
  repository: z
    .string()
    .max(512)
    .regex(/^[\w.-]+(\/[\w.-]+)+$/, 'must be owner/name, or the full path of a GitLab project'),
  repositoryId: NumericId.optional(),
  ownerId: NumericId.optional(),
  refs: entries(Ref),
  environment: word.optional(),
  events: entries(word.regex(/^[a-z_]+$/, 'must be the name of an event')).optional(),
  workflowRef: word.regex(/^[^\s@*]+$/, 'must be the path of a file, without ref').optional(),
  jobWorkflowRef: z
    .string()
    .max(1024)
    .regex(
      /^[\w.-]+\/[\w.-]+\/\.github\/workflows\/[^\s@*/]+@(refs\/(heads|tags)\/([^\s*]+\*?|\*)|[0-9a-f]{40})$/,
      'must be owner/name/.github/workflows/file@ref, the ref in full or a commit; a * may stand at the end of a ref only',
    )
    .optional(),
  runnerEnvironment: z.enum(['github-hosted', 'gitlab-hosted', 'self-hosted']).optional(),
});

/** Which jobs of a CI system may attest a workflow: all that is given must hold. docs/federation.md. */
export type Binding = {
  readonly project: string;
  readonly workflow: string;
  readonly issuer: string;
  readonly repository: string;
  /** Both, or neither: then the binding is pending, and the first matching token fixes them. */
  readonly ids?: { readonly repositoryId: string; readonly ownerId: string } | undefined;
  readonly refs: readonly string[];
  readonly environment?: string | undefined;
  readonly events: readonly string[];
  /** The path of the file that began the run. */
  readonly workflowRef?: string | undefined;
  /** GitHub: the reusable workflow that holds the job. */
  readonly jobWorkflowRef?: string | undefined;
  readonly runnerEnvironment?: string | undefined;
};

const rules = { name: 'binding', code: 'USAGE', maxBytes: limits.bindingSizeBytes, maxValues: 1_000 } as const;

/**
 * The binding in a YAML or JSON file of that organization, for a control plane that knows these issuers. Throws USAGE with every problem, its line and
 * column; LIMIT_EXCEEDED above `limits.bindingSizeBytes`.
 */
export function parseBinding(
  text: string,
  format: 'yaml' | 'json',
  { issuers, organization: own }: { readonly issuers: ReadonlyMap<string, IssuerKind>; readonly organization: string },
): Binding {
  const source = parseSource(text, format, rules);
  const findings = [...source.findings, ...schemaFindings(Document, source.value), ...betweenFields(source.value, issuers, own)];
  if (findings.length > 0) source.refuse(findings);
  const { workflow: path, project: named, repositoryId, ownerId, events, ...rest } = Document.parse(source.value);
  const [workflow = '', project = named ?? ''] = path.split('/').reverse();
  return {
    ...rest,
    project,
    workflow,
    ...(repositoryId !== undefined && ownerId !== undefined && { ids: { repositoryId, ownerId } }),
    events: events ?? defaultEvents[issuers.get(rest.issuer) ?? issuerKinds[0]],
  };
}

/** What one field alone cannot tell. Fields of a wrong type are not looked at: they have a finding already. */
function betweenFields(value: unknown, issuers: ReadonlyMap<string, IssuerKind>, own: string): Finding[] {
  const text = (key: string): string | undefined => {
    const found: unknown = typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
    return typeof found === 'string' ? found : undefined;
  };
  const findings: Finding[] = [];
  const say = (key: string, message: string): void => void findings.push({ path: [key], message });

  const path = text('workflow')?.split('/') ?? [];
  const steps = path.length;
  if (steps === 3 && path[0] !== own) say('workflow', `names organization '${path[0]?.slice(0, limits.nameLength)}'; you work in '${own}'`);
  if (steps === 1 && text('project') === undefined) say('workflow', 'write project/workflow, or name the project in a key of its own');
  if (steps > 1 && text('project') !== undefined) say('project', 'the workflow names its project already; leave one of them out');

  const [repositoryId, ownerId] = [text('repositoryId'), text('ownerId')];
  if (repositoryId !== undefined && ownerId === undefined)
    say('repositoryId', 'give ownerId too, or neither: then the first token fixes both');
  if (ownerId !== undefined && repositoryId === undefined)
    say('ownerId', 'give repositoryId too, or neither: then the first token fixes both');

  const issuer = text('issuer');
  const kind = issuer === undefined ? undefined : issuers.get(issuer);
  if (issuer !== undefined && kind === undefined) {
    say(
      'issuer',
      `this control plane does not trust it; it trusts ${[...issuers.keys()].join(', ') || 'none'} (chainloop server --issuers)`,
    );
  }
  if (kind === 'gitlab' && text('jobWorkflowRef') !== undefined) say('jobWorkflowRef', 'GitLab has no reusable workflows; leave it out');
  if (kind === 'github' && text('workflowRef')?.startsWith('.github/workflows/') === false) {
    say('workflowRef', 'must begin with .github/workflows/');
  }
  if (kind === 'github' && text('repository')?.split('/').length !== 2 && text('repository') !== undefined) {
    say('repository', 'must be owner/name');
  }
  return findings;
}
