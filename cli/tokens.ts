import type { CreatedToken, TokenView } from '../core/wire.ts';
import { type Context, print } from './context.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

const never = 'never';

/** A list of service accounts or API tokens. The tokens themselves are not known to anybody but their holders. */
export function tokensTable(tokens: readonly TokenView[], now: Date): Table {
  const bound = tokens.some(({ workflow }) => workflow !== null);
  return {
    header: ['ID', 'NAME', ...(bound ? ['PROJECT', 'WORKFLOW'] : ['ROLE']), 'STATE', 'CREATED AT', 'EXPIRES AT', 'LAST USED AT'],
    rows: tokens.map((token) => [
      ...[token.id, token.name, ...(bound ? [token.project ?? '', token.workflow ?? ''] : [token.role ?? '']), stateOf(token, now)],
      ...[formatTime(token.createdAt), formatTime(token.expiresAt ?? never), formatTime(token.lastUsedAt ?? never)],
    ]),
  };
}

/** Shows a new token, this once. */
export function printCreated(context: Context, created: CreatedToken, what: string): void {
  context.log.info(`${what} created! Keep the token now: it is not shown again`);
  print(context, created, () => [
    {
      rows: [
        ['ID', created.id],
        ['Name', created.name],
        ...(created.role ? [['Role', created.role]] : []),
        ...(created.workflow === null ? [] : [['Workflow', `${created.project ?? ''}/${created.workflow}`]]),
        ['Expires At', formatTime(created.expiresAt ?? never)],
        ['Token', created.token],
      ],
    },
  ]);
}

function stateOf({ revokedAt, expiresAt }: TokenView, now: Date): string {
  if (revokedAt !== null) return 'revoked';
  return expiresAt !== null && new Date(expiresAt) <= now ? 'expired' : 'active';
}
