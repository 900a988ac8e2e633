import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { attachmentLines, attachmentRows } from '../plugin/attachments.ts';
import { command, requiredText, text } from './command.ts';
import { print } from './context.ts';
import { attacherOf, imagesOf } from './crafting.ts';

/** The credentials of an image's registry. */
export const registryFlags = {
  registryUsername: text('<name>', 'for the registry of an image (CHAINLOOP_REGISTRY_USERNAME)'),
  registryPassword: text('<password>', 'for the registry of an image; better in CHAINLOOP_REGISTRY_PASSWORD'),
};

export const attachCommand = command({
  name: 'attach',
  about: 'put a bundle on the container images that it is about',
  examples: [
    'chainloop attestation attach --bundle release.sigstore.json',
    'chainloop attestation attach --bundle release.sigstore.json registry.example.com/mirror/app:v1',
  ],
  details: `Does what attestation push --attach does, later or elsewhere, without the control plane: for an image that could not be reached, or was
copied to another registry. The images are those of the attestation, unless they are given. The same again changes nothing.`,
  flags: { bundle: requiredText('<path>', 'the Sigstore bundle, as written by attestation push --bundle'), ...registryFlags },
  operands: ['[image...]'],
  run: async (context, { bundle, ...login }, references) => {
    const [{ attach, attachError, imagesOfBundle }, { readLimited }] = await Promise.all([
      import('../core/attestation.ts'),
      import('../core/adapters/files.ts'),
    ]);
    const content = Buffer.from(await readLimited(bundle, limits.bundleSizeBytes)).toString('utf8');
    const known = imagesOfBundle(content);
    if (known.length === 0) throw new ChainloopError('USAGE', `${bundle}: the attestation has no container image to attach it to`);
    // Whoever wrote the bundle chose its registries; nothing of it is verified here.
    const isGiven = [login.registryPassword, context.env.CHAINLOOP_REGISTRY_PASSWORD].some(
      (password) => password !== undefined && password !== '',
    );
    if (isGiven && references.length === 0) {
      throw new ChainloopError(
        'USAGE',
        `${bundle}: a password that is given goes to no registry that only the bundle names; name the image after the options`,
      );
    }
    const images = imagesOf(context, login);
    const given = await Promise.all(
      references.map(async (reference) => {
        const { repository, digest, layout } = await images.resolve(reference);
        const same = known.find((image) => image.digest === digest);
        if (same !== undefined) return { material: same.material, repository, digest, layout };
        throw new ChainloopError('ARTIFACT_MISMATCH', `${reference} is ${digest}, which is no image of the attestation in ${bundle}`);
      }),
    );
    const attachments = await attach(attacherOf(context, login), content, given.length === 0 ? known : given);
    for (const line of attachmentLines(attachments)) context.log.info(line);
    print(context, { attachments: attachmentRows(attachments) }, () => []);
    const failure = attachError(attachments, 'try again with the same command');
    if (failure !== undefined) throw failure;
  },
});
