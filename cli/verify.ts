import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { VerifiedSigner } from '../core/verify.ts';
import { command, requiredText } from './command.ts';
import { print } from './context.ts';
import { policyFlags, readPolicy } from './policy.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';
import { withTrustRoot } from './trust-root.ts';

export const verify = command({
  name: 'verify',
  about: 'check a bundle against whom you trust, without any network',
  examples: [
    'chainloop attestation verify --bundle release.sigstore.json --trust-root root.json --identity https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1 ./app',
    'chainloop attestation verify --bundle release.sigstore.json --trust-root root.json --identity-prefix https://github.com/acme/app/ ./app ./cli',
    'chainloop attestation verify --bundle release.sigstore.json --trust-root root.json --identity https://github.com/acme/ci/.github/workflows/attest.yml@refs/tags/v1 --source-repository https://github.com/acme/app ./app',
    'chainloop attestation verify --bundle release.sigstore.json --key release.pub ./app',
  ],
  details: `Say whom you trust: the authorities of a trusted root together with the identity that must have signed, or public keys. A prefix ends
at a / or @: https://github.com/acme/app is not https://github.com/acme/app-evil. A job in a reusable workflow has that workflow's identity, the same for all
who call it: give --source-repository too. Each artifact must be a subject of the attestation, by its digest:
one that is not fails the command. Whatever the control plane says plays no part.`,
  flags: { bundle: requiredText('<path>', 'the Sigstore bundle, as written by attestation push --bundle'), ...policyFlags },
  operands: ['[artifact...]'],
  run: async (context, { bundle, ...trusted }, artifacts) => {
    const policy = await withTrustRoot(trusted.trustRoot, readPolicy(trusted));
    if (policy === undefined) {
      throw new ChainloopError(
        'USAGE',
        'say whom you trust: --trust-root <path> with --identity <id> for keyless signatures, or --key <path> (a public key, PEM)',
      );
    }
    const [{ files, readLimited }, { parseStatement }, { verifyArtifacts, verifyBundle }, { unknownAuthority }] = await Promise.all([
      import('../core/adapters/files.ts'),
      import('../core/statement.ts'),
      import('../core/verify.ts'),
      import('../core/trust-root.ts'),
    ]);
    const bytes = await readLimited(bundle, limits.bundleSizeBytes);
    const { payloadType, signer, statement } = named(bundle, unknownAuthority, () => {
      const { payload, ...verified } = verifyBundle(decode(bytes), policy);
      return { ...verified, statement: parseStatement(payload) };
    });
    const measured = [];
    for (const path of artifacts) {
      await using file = await files.open(path);
      measured.push({ name: path, digest: await file.digest() });
    }
    const found = measured.length === 0 ? [] : verifyArtifacts(statement, measured);
    context.log.info(`Verified! signed ${signer.type === 'key' ? 'with' : 'by'} ${signer.name}`);
    for (const { name, digest } of found) context.log.info('artifact is a subject of the attestation', { name, digest });
    if (found.length === 0) context.log.info('no artifact was given: the subjects were not compared with any file');

    const { metadata } = statement.predicate;
    const answer = {
      verified: true,
      signer,
      payloadType,
      predicateType: statement.predicateType,
      metadata,
      subjects: statement.subject,
      artifacts: found,
    };
    print(context, answer, () => [
      {
        rows: [
          ['Verified', 'true'],
          ...signerRows(signer),
          ['Workflow', metadata.workflowName ?? ''],
          ['Project', metadata.project ?? ''],
          ['Organization', metadata.organization ?? ''],
          ['Workflow Run', metadata.workflowRunID ?? ''],
          ['Finished At', formatTime(metadata.finishedAt)],
        ],
      },
      {
        title: 'Subjects',
        header: ['NAME', 'DIGEST'],
        rows: statement.subject.map(({ name, digest }) => [
          name,
          Object.entries(digest)
            .map(([algorithm, hex]) => `${algorithm}:${hex}`)
            .join(' '),
        ]),
      },
    ]);
  },
});

/** Who signed, in the rows of a table: of a certificate also who vouched for it, for what repository, and when. */
export function signerRows(signer: VerifiedSigner): Exclude<Table['rows'][number], 'line'>[] {
  const name = ['Signer', signer.name];
  if (signer.type === 'key') return [name];
  return [
    name,
    ['Issuer', signer.issuer ?? 'not named'],
    ...(signer.sourceRepository === undefined ? [] : [['Source Repository', signer.sourceRepository]]),
    ['Signed At', formatTime(signer.signedAt.toISOString())],
  ];
}

/** Says which file an error is about; and, where the trusted root knows none of the authorities, that it may be an old one. */
function named<T>(path: string, unknownAuthority: string, judge: () => T): T {
  try {
    return judge();
  } catch (error) {
    if (!isChainloopError(error)) throw error;
    const { code, message, problems } = error;
    const advice = message.includes(unknownAuthority)
      ? '; if the authorities were rotated since it was exported, export it again: chainloop trust-root export --output FILE'
      : '';
    throw new ChainloopError(code, `${path}: ${message}${advice}`, { problems, cause: error });
  }
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ChainloopError('BUNDLE_INVALID', 'bundle: the file is not UTF-8 text', { cause });
  }
}
