import { ChainloopError } from '../core/errors.ts';
import type { TrustedIdentityView } from '../core/wire.ts';
import { command, group, requiredText, text } from './command.ts';
import { connect } from './connect.ts';
import { print } from './context.ts';
import { collect, pageFlags } from './paging.ts';
import { readTrustRoot } from './policy.ts';
import type { Table } from './terminal/table.ts';
import { withTrustRoot } from './trust-root.ts';

export const identity = group('identity', 'whose keyless signatures are trusted, besides the job of the run', [
  command({
    name: 'trust',
    about: 'accept attestations that somebody with this identity signed',
    examples: [
      'chainloop identity trust --name release --issuer https://token.actions.githubusercontent.com --san https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main',
      'chainloop identity trust --name acme --issuer https://token.actions.githubusercontent.com --san-prefix https://github.com/acme/ --ca fulcio.json',
    ],
    details: `A run accepts the certificate of its own job anyway; this is for others. Without --ca the certificate must be of this control plane's own authority. A
prefix ends at a / or @: https://github.com/acme/app is not https://github.com/acme/app-evil.`,
    flags: {
      name: requiredText('<name>', 'what to call it'),
      issuer: requiredText('<url>', 'who vouches for the identity, exactly'),
      san: text('<uri>', 'the identity, exactly as in the certificate'),
      sanPrefix: text('<prefix>', 'how the identity begins'),
      ca: text('<path>', 'a Sigstore trusted root (JSON) with the authorities to believe'),
    },
    run: async (context, { name, issuer, san, sanPrefix, ca }) => {
      if ((san === undefined) === (sanPrefix === undefined)) {
        throw new ChainloopError('USAGE', 'say which identity: give either --san <uri>, exactly, or --san-prefix <prefix>');
      }
      const identity = san === undefined ? { prefix: sanPrefix ?? '' } : { exact: san };
      const trustRoot = ca === undefined ? undefined : await readTrustRoot(ca);
      const trusted = await withTrustRoot(ca, (await connect(context)).identity.trust.mutate({ name, issuer, identity, trustRoot }));
      context.log.info('Identity trusted!');
      print(context, trusted, () => [table([trusted])]);
    },
  }),
  command({
    name: 'ls',
    about: 'list the identities that the organization trusts',
    examples: ['chainloop identity ls'],
    flags: pageFlags,
    run: async (context, flags) => {
      const client = await connect(context);
      const page = await collect(context, flags, (page) => client.identity.list.query(page));
      print(context, page, () => [table(page.items)]);
    },
  }),
  command({
    name: 'rm',
    about: 'trust an identity no longer; attestations that it signed show as not verified',
    examples: ['chainloop identity rm --name release'],
    flags: { name: requiredText('<name>', 'the identity') },
    run: async (context, { name }) => {
      await (await connect(context)).identity.remove.mutate({ name });
      context.log.info('Identity removed!');
      print(context, { name, deleted: true }, () => []);
    },
  }),
]);

function table(identities: readonly TrustedIdentityView[]): Table {
  return {
    header: ['NAME', 'IDENTITY', 'ISSUER', 'AUTHORITY'],
    rows: identities.map(({ name, san, match, issuer, authority }) => [
      ...[name, match === 'exact' ? san : `begins with ${san}`, issuer, authority],
    ]),
  };
}
