import { join } from 'node:path';
import { command, text, toggle } from './command.ts';
import { version } from './release.ts';

export const server = command({
  name: 'server',
  about: 'start a control plane, with an embedded database and storage unless told otherwise',
  examples: [
    'chainloop server',
    'chainloop server --listen 127.0.0.1:8080 --data-dir ./data',
    'DATABASE_URL=postgresql://… chainloop server --listen 0.0.0.0:8080',
  ],
  details: `The first start writes the token of the owner to DIR/owner-token. With DATABASE_URL the records are kept in PostgreSQL; then any
number of servers can run side by side, with the same CHAINLOOP_MASTER_KEY.`,
  flags: {
    listen: text('<host:port>', 'where to listen (default 127.0.0.1:8080; port 0 is a free one)'),
    dataDir: text('<path>', 'where data is kept (default $XDG_DATA_HOME/chainloop)'),
    publicUrl: text('<origin>', 'how users reach it, behind a proxy'),
    allowPrivateRegistries: toggle('let organizations store evidence in registries on private addresses'),
    issuers: text('<file>', 'CI systems whose tokens are trusted (default: GitHub and GitLab; docs/federation.md)'),
    caDir: text('<path>', 'your own certificate and time-stamping authorities (default: it makes them; docs/trust.md)'),
    logLevel: text('<level>', 'how much is logged (CHAINLOOP_LOG_LEVEL)'),
  },
  outputs: ['table'],
  run: async (context, flags) => {
    const { serve } = await import('../server/main.ts');
    const options = { ...flags, logLevel: flags.logLevel ?? (context.env.CHAINLOOP_LOG_LEVEL || undefined) };
    await serve(options, context.env, version, ({ url, ownerToken }, { dataDir, databaseUrl }) => {
      context.stdout.write(welcome(url, dataDir, databaseUrl === undefined, ownerToken !== undefined));
    });
  },
});

function welcome(url: string, dataDir: string, embedded: boolean, holdsToken: boolean): string {
  const tokenFile = join(dataDir, 'owner-token');
  return `Chainloop ${version} listens on ${url}
Data:        ${dataDir} (${embedded ? 'embedded database' : 'records are in PostgreSQL'})
Owner token: ${holdsToken ? `${tokenFile} (only you can read it)` : 'in the data directory of the first server'}

Next, in another terminal:
  export CHAINLOOP_URL=${url} CHAINLOOP_TOKEN="$(cat '${tokenFile}')"
  chainloop org create --name acme
  chainloop org use --name acme
  chainloop workflow contract create --name release -f contract.yaml
`;
}
