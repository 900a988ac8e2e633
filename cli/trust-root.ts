import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { command, group, text, toggle } from './command.ts';
import { addressOf, connectToInstance } from './connect.ts';
import { type Context, print, printJson } from './context.ts';
import { formatTime } from './terminal/time.ts';

/** How long a control plane that does not answer is waited for. */
const patienceMs = 5_000;

export const trustRoot = group('trust-root', 'the authorities behind keyless signatures', [
  command({
    name: 'export',
    about: 'write what verifies keyless signatures offline: a Sigstore trusted root',
    examples: ['chainloop trust-root export --output trusted-root.json', 'chainloop trust-root export > trusted-root.json'],
    details: `Open to all: it takes no token. Keep the file where you verify, and where nobody else can change it: who does decides what you believe. After
a rotation export it again, for what is signed from then on. When keys of the authorities were stolen, rotate and export with --newest: what was
signed before, by you or by the thief, verifies no longer.`,
    flags: {
      output: text('<path>', 'the file to write; without it, standard output'),
      newest: toggle('only the authorities in use now, without those that were rotated away'),
    },
    run: async (context, { output, newest }) => {
      if (output === 'json' || output === 'table') {
        throw new ChainloopError(
          'USAGE',
          `--output is the file to write here: leave it out for JSON, or write ./${output} if you mean a file`,
        );
      }
      const { assertWritable, writeFileAtomically } = await import('../core/adapters/files.ts');
      if (output !== undefined) await assertWritable(output);
      const root = await fetchTrustRoot(context, newest);
      if (output === undefined) return printJson(context, root);
      await writeFileAtomically(output, Buffer.from(`${JSON.stringify(root, null, 2)}\n`), 0o644);
      context.log.info('Trusted root written!', { file: output });
    },
  }),
  command({
    name: 'rotate',
    about: 'take new keys for certificates and timestamps (the owner of the instance)',
    examples: ['chainloop trust-root rotate'],
    details: `What the old keys signed keeps verifying, also with trusted roots that were exported before. What is signed from now on needs the new trusted
root: hand it to whoever verifies.`,
    flags: {},
    run: async (context) => {
      const made = await (await connectToInstance(context)).trustRoot.rotate.mutate();
      context.log.info('Authorities rotated! Export the trusted root again, for everybody who verifies: chainloop trust-root export');
      print(context, made, () => [
        {
          rows: [
            ['Generation', String(made.generation)],
            ['Created At', formatTime(made.createdAt)],
          ],
        },
      ]);
    },
  }),
]);

/** The same answer; a trusted root that cannot be used is named by its file. */
export async function withTrustRoot<T>(file: string | undefined, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (file === undefined || !isChainloopError(error, 'TRUST_ROOT_INVALID') || error.message.includes(file)) throw error;
    throw new ChainloopError(error.code, `${file}: ${error.message}`, { problems: error.problems, cause: error });
  }
}

/** As the control plane has it now, and read as a verifier will read it: what cannot be used is not written. */
async function fetchTrustRoot(context: Context, newest: boolean): Promise<unknown> {
  const [{ createApi }, { loadTrustRoot }] = await Promise.all([import('../client/api.ts'), import('../core/trust-root.ts')]);
  const whole = await createApi(addressOf(context, await context.settings(), patienceMs)).trustRoot.get.query();
  const inUse = ({ validFor }: { readonly validFor: { readonly end?: string } }): boolean => validFor.end === undefined;
  const { certificateAuthorities, timestampAuthorities } = whole;
  const root = !newest
    ? whole
    : {
        ...whole,
        certificateAuthorities: certificateAuthorities.filter(inUse),
        timestampAuthorities: timestampAuthorities.filter(inUse),
      };
  await loadTrustRoot(JSON.stringify(root));
  return root;
}
