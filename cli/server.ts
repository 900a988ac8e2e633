import { join } from 'node:path';
import { command, text, toggle } from './command.ts';
import type { Context } from './context.ts';
import { version } from './release.ts';
import { backup, restore } from './server-backup.ts';

export const server = command({
  name: 'server',
  about: 'start a control plane, with an embedded database and storage unless told otherwise',
  examples: [
    'chainloop server',
    'chainloop server --listen 127.0.0.1:8080 --data-dir ./data',
    'DATABASE_URL=postgresql://… chainloop server --listen 0.0.0.0:8080',
  ],
  details: `Each option has a variable, too, and so have the secrets: docs/configuration.md. The first start writes the token of the owner to DIR/owner-token. With DATABASE_URL the records are kept in PostgreSQL; then any
number of servers can run side by side, with the same CHAINLOOP_MASTER_KEY.`,
  flags: {
    listen: text('<host:port>', 'where to listen (default 127.0.0.1:8080; port 0 is a free one)'),
    dataDir: text('<path>', 'where data is kept (default $XDG_DATA_HOME/chainloop)'),
    publicUrl: text('<origin>', 'how users reach it, behind a proxy'),
    allowPrivateRegistries: toggle('let organizations store evidence in registries on private addresses'),
    issuers: text('<file>', 'CI systems whose tokens are trusted (default: GitHub and GitLab; docs/federation.md)'),
    oidcIssuer: text('<url>', 'OpenID provider that people log in with (docs/people.md)'),
    oidcClientId: text('<id>', 'what the provider calls this control plane'),
    oidcScopes: text('<scopes>', 'what the provider is asked for (default: profile email)'),
    sessionHours: text('<n>', 'how long somebody stays logged in (default 12)'),
    sessionIdleMinutes: text('<n>', 'how long, when nothing is done (default: as long)'),
    caDir: text('<path>', 'your own certificate and time-stamping authorities (default: it makes them; docs/trust.md)'),
    logLevel: text('<level>', 'how much is logged (default info)'),
    tokenRate: text('<n>', 'requests a second of one token (default 200; 0: no limit)'),
    organizationRate: text('<n>', 'requests a second of one organization (default 1000; 0: no limit)'),
    maxConnections: text('<n>', 'connections of clients (default 4096)'),
    databaseConnections: text('<n>', 'connections to PostgreSQL (default 16)'),
  },
  outputs: ['table'],
  commands: [backup, restore],
  run: async (context, flags) => {
    const { serve } = await import('../server/main.ts');
    await serve(flags, context.env, version, ({ url, ownerToken }, { dataDir, databaseUrl }) => {
      const tokenFile = ownerToken === undefined ? undefined : join(dataDir, 'owner-token');
      context.stdout.write(welcome({ url, dataDir, embedded: databaseUrl === undefined, tokenFile, program: programName(context) }));
    });
  },
});

/** How this program is called where it runs: in a checkout, and as a dependency of a project, npm finds it. */
function programName({ env }: Context): string {
  return import.meta.filename.endsWith('.ts') || env.npm_command === 'exec' ? 'npx chainloop' : 'chainloop';
}

/** `tokenFile` is undefined on a second server: the token is where the first one wrote it. */
export function welcome(server: {
  readonly url: string;
  readonly dataDir: string;
  readonly embedded: boolean;
  readonly tokenFile: string | undefined;
  readonly program: string;
}): string {
  const { url, dataDir, embedded, tokenFile, program } = server;
  return `Chainloop ${version} listens on ${url}
Data:        ${dataDir} (${embedded ? 'embedded database' : 'records are in PostgreSQL'})
Owner token: ${tokenFile === undefined ? 'in the data directory of the first server' : `${tokenFile} (only you can read it)`}

Next, in another terminal:
  export CHAINLOOP_URL=${url} CHAINLOOP_TOKEN=${tokenFile === undefined ? "'<the owner token>'" : `"$(cat '${tokenFile}')"`}
  ${program} org create --name acme
  ${program} org use --name acme
  ${program} workflow contract create --name release -f contract.yaml
`;
}
