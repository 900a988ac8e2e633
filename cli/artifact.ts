import { join } from 'node:path';
import { parseDigest } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import { assertFileName } from '../core/file-name.ts';
import { command, group, requiredText, text, toggle } from './command.ts';
import { connect } from './connect.ts';
import { print } from './context.ts';
import { evidenceOrganization, openEvidenceStore, openGateway } from './evidence.ts';
import { startProgress } from './terminal/progress.ts';

export const artifact = group('artifact', 'upload and download evidence by its digest', [
  command({
    name: 'upload',
    about: 'put a file into the storage of the organization',
    examples: ['chainloop artifact upload -f rootfs.tar.gz'],
    details: 'In a CI job, `chainloop attestation add` uploads by itself what the contract asks for.',
    flags: { file: requiredText('<path>', 'the file', { short: '-f' }) },
    run: async (context, { file: path }) => {
      const { files } = await import('../core/adapters/files.ts');
      await using file = await files.open(path);
      assertFileName(file.fileName);
      const client = await openGateway(context, await evidenceOrganization(context));
      try {
        const { digest, sizeBytes, existed } = await (await openEvidenceStore(client, context)).upload(file);
        context.log.info('file uploaded!', { name: file.fileName, digest });
        print(context, { fileName: file.fileName, digest, sizeBytes, existed }, () => [
          { header: ['NAME', 'SIZE', 'DIGEST'], rows: [[file.fileName, String(sizeBytes), digest]], right: [1] },
        ]);
      } finally {
        client.close();
      }
    },
  }),
  command({
    name: 'download',
    about: 'save evidence as a file, once its digest is verified',
    examples: [
      'chainloop artifact download -d sha256:f8a581d4bce57f792444b2230b5706a6f902fbac19a374e76f6a56f030d35cf2',
      'chainloop artifact download -d sha256:f8a581d4bce57f792444b2230b5706a6f902fbac19a374e76f6a56f030d35cf2 --path evidence --name rootfs.tar.gz',
    ],
    details:
      'The file is called as at its upload, when that is a harmless name, else sha256-<digest>. Nothing is overwritten without --force.',
    flags: {
      digest: requiredText('<sha256:…>', 'what to download', { short: '-d' }),
      path: text('<directory>', 'where to save it (default: here)'),
      name: text('<name>', 'what to call it'),
      force: toggle('replace a file that is there'),
    },
    run: async (context, flags) => {
      const { downloadName, isHarmlessName, saveDownload, targetDirectory } = await import('./download.ts');
      const digest = parseDigest(flags.digest);
      if (flags.name !== undefined && !isHarmlessName(flags.name)) {
        throw new ChainloopError(
          'USAGE',
          `--name: '${flags.name}' is not a plain file name: letters, digits and ._+@- only; the directory is said with --path`,
        );
      }
      const directory = await targetDirectory(flags.path ?? '.');
      const described = await (await connect(context)).artifact.describe.query({ digest });
      const name = flags.name ?? downloadName(described.fileName ?? '', digest);
      const path = join(directory, name);
      const client = await openGateway(context, await evidenceOrganization(context));
      try {
        context.log.info('downloading file', { name, to: path });
        const progress = startProgress(context.stderr, { label: name, totalBytes: described.sizeBytes });
        const counted = async function* () {
          const { body } = await client.fetchBlob(digest);
          let doneBytes = 0;
          for await (const piece of body) {
            yield piece;
            doneBytes += piece.byteLength;
            progress.update(doneBytes);
          }
        };
        await saveDownload(directory, name, counted, { force: flags.force }).finally(progress.clear);
        context.log.info('file downloaded!', { path });
        print(context, { path, digest, sizeBytes: described.sizeBytes }, () => []);
      } finally {
        client.close();
      }
    },
  }),
]);
