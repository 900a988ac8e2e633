import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { command, requiredText, texts } from './command.ts';
import { print } from './context.ts';
import { formatTime } from './terminal/time.ts';

export const verify = command({
  name: 'verify',
  about: 'check a bundle with public keys that you trust, without any network',
  examples: [
    'chainloop attestation verify --bundle release.sigstore.json --key release.pub',
    'chainloop attestation verify --bundle release.sigstore.json --key release.pub ./control-plane ./cli',
  ],
  details: `Each artifact must be a subject of the attestation, by its digest: one that is not fails the command. Whatever the control plane says
plays no part.`,
  flags: {
    bundle: requiredText('<path>', 'the Sigstore bundle, as written by attestation push --bundle'),
    key: texts('<path>', 'a public key that you trust (PEM)'),
  },
  operands: ['[artifact...]'],
  run: async (context, { bundle, key }, artifacts) => {
    if (key.length === 0) throw new ChainloopError('USAGE', '--key <path> is missing: a public key that you trust (PEM)');
    const [{ files, readLimited }, { parseStatement }, { verifyArtifacts, verifyBundle }, { readTrustedKeys }] = await Promise.all([
      import('../core/adapters/files.ts'),
      import('../core/statement.ts'),
      import('../core/verify.ts'),
      import('./run-verify.ts'),
    ]);
    const keys = await readTrustedKeys(key);
    const { payload, payloadType, signer } = verifyBundle(decode(await readLimited(bundle, limits.bundleSizeBytes)), {
      type: 'keys',
      keys,
    });
    const statement = parseStatement(payload);
    const measured = [];
    for (const path of artifacts) {
      await using file = await files.open(path);
      measured.push({ name: path, digest: await file.digest() });
    }
    const found = measured.length === 0 ? [] : verifyArtifacts(statement, measured);
    context.log.info(`Verified! signed with ${signer.name}`);
    for (const { name, digest } of found) context.log.info('artifact is a subject of the attestation', { name, digest });

    const { metadata } = statement.predicate;
    const answer = { verified: true, signer, payloadType, predicateType: statement.predicateType, metadata, artifacts: found };
    print(context, answer, () => [
      {
        rows: [
          ['Verified', 'true'],
          ['Signer', signer.name],
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

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ChainloopError('BUNDLE_INVALID', 'bundle: the file is not UTF-8 text', { cause });
  }
}
