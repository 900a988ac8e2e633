import { stat } from 'node:fs/promises';
import { type Digest, isDigest } from '../core/digest.ts';
import type { DiscoverRun, Discovery } from '../core/discover.ts';
import { ChainloopError } from '../core/errors.ts';
import { registryFlags } from './attach.ts';
import { command } from './command.ts';
import { connect } from './connect.ts';
import { type Context, print } from './context.ts';
import { imagesOf } from './crafting.ts';
import { drawDiscovery } from './discover-tree.ts';
import { collect, pageFlags } from './paging.ts';
import { namesRegistry } from './registry-host.ts';

type Asked = { readonly digest: Digest } | { readonly commit: string } | { readonly runId: string };

export const discover = command({
  name: 'discover',
  about: 'which runs touch a digest, file, image or commit, and what else they are of',
  examples: [
    'chainloop discover ./sbom.cdx.json',
    'chainloop discover sha256:f8a581d4bce57f792444b2230b5706a6f902fbac19a374e76f6a56f030d35cf2',
    'chainloop discover ghcr.io/acme/app:v1.2.3',
    'chainloop discover 9a96775da456e595f242bb9b5826cf46d8dd5d81 --output json',
    'chainloop discover a6ec0229-7796-46fc-8df2-a03f4bddab47',
  ],
  details: `Takes the digest of evidence, of an attestation or of what a contract says (sha256:… or its 64 hex digits), the whole id of a git commit,
the id of a run, a file, or an image with its registry. The newest runs come first. "subject" is an output of the run, which its attestation is about;
"material" is other evidence that it brought. A file is only measured, not sent.`,
  flags: { ...pageFlags, ...registryFlags },
  operands: ['<what>'],
  run: async (context, { limit, cursor, ...login }, [what = '']) => {
    const asked = await readSubject(context, what, login);
    const client = await connect(context);
    let first: Discovery | undefined;
    const { items, nextCursor } = await collect<DiscoverRun>(context, { limit, cursor }, async (page) => {
      const answer = await client.discover.find.query({ ...page, ...asked });
      first ??= answer;
      return answer;
    });
    if (first === undefined) throw new Error('a list has a first page');
    const found: Discovery = { ...first, items, nextCursor };
    if (items.length === 0) context.log.info(`no run of this organization touches ${found.subject.type} ${found.subject.value}`);
    if (context.output === 'table') context.stdout.write(drawDiscovery(found));
    else print(context, found, () => []);
  },
});

type RegistryLogin = { readonly registryUsername: string | undefined; readonly registryPassword: string | undefined };

/** A file comes before an image of that name, and an image is written with its registry. USAGE and the errors of files and images. */
async function readSubject(context: Context, text: string, login: RegistryLogin): Promise<Asked> {
  const lower = text.toLowerCase();
  if (isDigest(lower)) return { digest: lower };
  const sha256 = `sha256:${lower}`;
  if (isDigest(sha256)) return { digest: sha256 };
  const [, commit] = /^(?:sha1:|gitcommit:)?([0-9a-f]{40}|[0-9a-f]{64})$/.exec(lower) ?? [];
  if (commit !== undefined) return { commit };
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(lower)) return { runId: lower };
  const there = await stat(text).catch(() => undefined);
  if (there?.isFile() === true) {
    const { files } = await import('../core/adapters/files.ts');
    await using file = await files.open(text);
    return { digest: await file.digest() };
  }
  const image = there?.isDirectory() === true ? `oci:${text}` : text;
  if (image.startsWith('oci:') || namesRegistry(text)) {
    return { digest: (await imagesOf(context, login).resolve(image)).digest };
  }
  const short = /^[0-9a-f]{4,39}$/.test(lower) ? `; if it is a commit, give its whole id: git rev-parse ${lower}` : '';
  throw new ChainloopError(
    'FILE_NOT_FOUND',
    `discover: '${text.slice(0, 100)}' is no digest, commit or id of a run, and no such file${short}; an image is written with its registry, such as docker.io/library/alpine:3`,
  );
}
