import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import * as z from 'zod';
import { inlined, recorded } from '../bench/statements.ts';
import type { OrgScope } from '../db/client.ts';

/** What the plan of a query did when it was run. */
export type Plan = {
  /** Tables that were read from one end to the other. */
  readonly seqScans: readonly string[];
  /** Rows of tables and entries of indexes that were looked at, those that a filter threw away included. */
  readonly rowsRead: number;
  /** Blocks of 8 KiB. */
  readonly blocks: number;
  readonly executionMs: number;
  readonly text: string;
};

const Node = z.object({
  'Node Type': z.string(),
  'Relation Name': z.string().optional(),
  'Index Name': z.string().optional(),
  'Actual Rows': z.number(),
  'Actual Loops': z.number(),
  'Rows Removed by Filter': z.number().default(0),
  'Rows Removed by Index Recheck': z.number().default(0),
  'Shared Hit Blocks': z.number(),
  'Shared Read Blocks': z.number(),
  get Plans() {
    return z.array(Node).default([]);
  },
});
type Node = z.infer<typeof Node>;
const Explained = z.tuple([z.object({ Plan: Node, 'Execution Time': z.number() })]);

/**
 * Runs the first statement of a query function as its organization, and says how. `generic`: with the plan that a prepared statement has
 * from its sixth time on, which knows no parameter; `custom`: with that of the first five.
 */
export async function planOf(scope: OrgScope, mode: 'generic' | 'custom', query: (scope: OrgScope) => Promise<unknown>): Promise<Plan> {
  const sent = await recorded(scope.organizationId, query);
  const [statement] = sent.filter(({ text }) => !text.startsWith('set local'));
  if (statement === undefined) throw new Error('the query sent nothing');
  const values = inlined({ text: statement.params.map((_, index) => `$${index + 1}`).join(', '), params: statement.params }, new Map());
  return scope.run(async (tx) => {
    for (const { text } of sent) if (text.startsWith('set local')) await tx.execute(sql.raw(text));
    await tx.execute(sql.raw(`set local plan_cache_mode = force_${mode}_plan`));
    const name = `explained_${randomUUID().replaceAll('-', '')}`;
    await tx.execute(sql.raw(`prepare ${name} as ${statement.text}`));
    const { rows } = await tx.execute<{ 'QUERY PLAN': unknown }>(
      sql.raw(`explain (analyze, buffers, format json) execute ${name}${values === '' ? '' : `(${values})`}`),
    );
    await tx.execute(sql.raw(`deallocate ${name}`));
    const [{ Plan: root, 'Execution Time': executionMs }] = Explained.parse(rows[0]?.['QUERY PLAN']);
    const nodes = flat(root);
    const scans = nodes.filter((node) => node['Node Type'].endsWith('Scan') && /Seq|Index|Bitmap Heap/.test(node['Node Type']));
    return {
      seqScans: scans.filter((node) => node['Node Type'] === 'Seq Scan').map((node) => node['Relation Name'] ?? ''),
      rowsRead: scans.reduce((sum, node) => sum + rowsOf(node), 0),
      blocks: root['Shared Hit Blocks'] + root['Shared Read Blocks'],
      executionMs,
      text: nodes
        .map((node) => `${node['Node Type']} ${node['Relation Name'] ?? ''} ${node['Index Name'] ?? ''} ${Math.round(rowsOf(node))}`)
        .join('\n'),
    };
  });
}

function flat(node: Node): Node[] {
  return [node, ...node.Plans.flatMap(flat)];
}

function rowsOf(node: Node): number {
  return (node['Actual Rows'] + node['Rows Removed by Filter'] + node['Rows Removed by Index Recheck']) * node['Actual Loops'];
}
