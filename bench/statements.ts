import { SQL } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import type { OrgScope } from '../db/client.ts';
import { written } from '../db/statement.ts';

export type Statement = { readonly text: string; readonly params: readonly unknown[] };

/** As db/statement.ts has it. */
const ordered = ['set local enable_bitmapscan = off', 'set local enable_seqscan = off'].map((text) => ({ text, params: [] }));

/** The statements that a query function would send, so that pgbench can send the same. */
export async function recorded(organizationId: string, query: (scope: OrgScope) => Promise<unknown>): Promise<readonly Statement[]> {
  const statements: Statement[] = [];
  const mock = drizzle.mock({ casing: 'snake_case', logger: { logQuery: (text, params) => void statements.push({ text, params }) } });
  const scope: OrgScope = {
    organizationId,
    run: (fn) => fn(mock),
    async read(fn, { inOrder = false } = {}) {
      if (inOrder) statements.push(...ordered);
      return fn(mock);
    },
    async rows(query, { inOrder = false } = {}) {
      if (inOrder) statements.push(...ordered);
      const { text, values } = query instanceof SQL ? written(query) : query;
      statements.push({ text, params: values });
      return [];
    },
    async statement(_name, sql) {
      const { text, values } = written(sql);
      statements.push({ text, params: values });
      return [];
    },
  };
  // There is no database behind: what was to be sent is all that is wanted.
  await query(scope).catch(() => {});
  return statements;
}

/** The statement with its parameters in place: as literals, or as `instead` says for some of their values. */
export function inlined({ text, params }: Statement, instead: ReadonlyMap<unknown, string>): string {
  return text.replace(/\$(\d+)/g, (_, number: string) => {
    const value = params[Number(number) - 1];
    const other = instead.get(value);
    if (other !== undefined) return other;
    if (value === null || value === undefined) return 'null';
    if (value instanceof Uint8Array) return `'\\x${Buffer.from(value).toString('hex')}'`;
    // pgbench takes `:true` for a variable, also inside of JSON.
    return typeof value === 'string' ? `'${value.replaceAll("'", "''").replaceAll(/:(?=[a-z])/gi, ': ')}'` : String(value);
  });
}
