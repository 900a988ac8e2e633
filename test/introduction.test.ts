import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { writeImageLayout } from '../examples/quickstart/image.ts';
import { commandLine } from './fakes/command-line.ts';
import { startControlPlane } from './fakes/control-plane.ts';
import { type Box, blocksOf, readBoxes, readTranscript } from './fakes/transcript.ts';

const document = join(import.meta.dirname, '..', '..', 'shared', 'reference', 'introduction.mdx');

/** What we show beyond the introduction, by the title of the box. */
const added: Readonly<Record<string, readonly string[]>> = {
  Workflow: ['Contract', 'Verified By', 'Signer', 'Digest'],
};
/** Boxes that we show beyond it, by their titles. */
const addedBoxes: readonly (string | undefined)[] = ['Verdict'];
/** What a statement of today says in other words: materials are in-toto resource descriptors. */
const replacedKeys = ['material', 'slsa', 'uri', 'type', 'stringVal'];
const job = {
  GITHUB_ACTIONS: 'true',
  GITHUB_ACTOR: 'migmartri',
  GITHUB_REF: 'refs/tags/v0.8.10',
  GITHUB_REPOSITORY: 'chainloop-dev/bedrock',
  GITHUB_REPOSITORY_OWNER: 'chainloop-dev',
  GITHUB_RUN_ID: '3411479373',
  GITHUB_SERVER_URL: 'https://github.com',
  GITHUB_SHA: '6417e226890ae1340cecc9cd9d7692445ee3338e',
  RUNNER_NAME: 'GitHub Actions 5',
  RUNNER_OS: 'Linux',
  CUSTOM_VAR: 'RESOLVED_VALUE',
};

test('the transcript of the introduction, replayed command by command, gives the same tables and fields', async (t) => {
  if (!existsSync(document)) return t.skip('the introduction (../shared/reference/introduction.mdx) is not here: nothing to compare with');
  const markdown = await readFile(document, 'utf8');
  const transcript = readTranscript(markdown);
  assert.equal(transcript.length, 11);

  await using controlPlane = await startControlPlane();
  const { token, name: organization } = await controlPlane.createOrganization('acme');
  await using cli = await commandLine({ CHAINLOOP_URL: controlPlane.url, CHAINLOOP_ORGANIZATION: organization });
  const operator = { CHAINLOOP_TOKEN: token };
  const set = async (...args: readonly string[]) => {
    const ended = await cli.run(args, { env: operator });
    assert.equal(ended.code, 0, ended.stderr);
    return ended.stdout;
  };
  await writeFile(join(cli.folder, 'contract.yaml'), blocksOf(markdown, 'yaml')[0] ?? '');
  await set('workflow', 'contract', 'create', '--name', 'release', '-f', 'contract.yaml');
  await set('workflow', 'create', '--name', 'release', '--project', 'bedrock', '--team', 'core', '--contract', 'release');
  await set('key', 'generate', '--output-key-prefix', 'release');
  await set('key', 'trust', '--name', 'release', '-f', 'release.pub');
  const account: { token: string } = JSON.parse(
    await set('service-account', 'create', '--workflow', 'release', '--project', 'bedrock', '--name', 'ci', '--output', 'json'),
  );
  await mkdir(join(cli.folder, 'releases/bin/x86_64'), { recursive: true });
  await writeFile(join(cli.folder, 'releases/bin/x86_64/control-plane'), Buffer.alloc(100_000, 'control plane'));
  await writeFile(join(cli.folder, 'rootfs.tar.gz'), 'the root file system');
  await writeImageLayout(join(cli.folder, 'image'), gzipSync('layer'), 'v0.7.6');
  const rootfs: { digest: string } = JSON.parse(await set('artifact', 'upload', '-f', 'rootfs.tar.gz', '--output', 'json'));
  await mkdir(join(cli.folder, 'downloads'));

  const jobEnv = { ...job, CHAINLOOP_TOKEN: account.token, CHAINLOOP_SIGNING_KEY: join(cli.folder, 'release.key') };
  let workflowId = '';
  let runId = '';
  /** The same words, with ids, digests and the image of this machine. */
  const own = (word: string): string => {
    if (word.includes('dkr.ecr')) return 'oci:image:v0.7.6';
    if (word === 'ca6d9718-fa49-4a20-9db9-a82080e79632') return workflowId;
    if (word === 'a6ec0229-7796-46fc-8df2-a03f4bddab47') return runId;
    return word.startsWith('sha256:') ? rootfs.digest : word;
  };

  for (const { command, output } of transcript) {
    await t.test(command, async () => {
      const [, ...words] = command.split(/\s+/);
      const download = words[1] === 'download';
      const ended = await cli.run(words.map(own), {
        env: words[0] === 'attestation' ? jobEnv : operator,
        ...(download && { cwd: join(cli.folder, 'downloads') }),
      });
      assert.equal(ended.code, 0, ended.stderr);
      compareBoxes(ended.stdout, output);
      for (const line of output.split('\n').filter((line) => line.startsWith('INF '))) {
        assert.match(ended.stderr, new RegExp(`^${masked(line)}$`, 'm'));
      }
      if (output.includes('... done!')) {
        assert.match(ended.stderr, /^control-plane@sha256:[0-9a-f]{64} \.\.\. done! \[100\.00KB in [\dm.]+s; [\d.]+[KMG]?B\/s\]$/m);
      }
      if (words[1] === 'push') assert.deepEqual(envelopeKeys(ended.stdout), envelopeKeys(output.replace(/\nINF .*/, '')));
      if (words.includes('statement')) {
        const missing = [...keysOf(output)].filter((key) => !keysOf(ended.stdout).has(key));
        assert.deepEqual(missing, replacedKeys);
      }
      workflowId ||= words.join(' ') === 'workflow ls' ? (readBoxes(ended.stdout)[0]?.rows[0]?.[0] ?? '') : '';
      runId ||= words[2] === 'ls' ? (readBoxes(ended.stdout)[0]?.rows[0]?.[0] ?? '') : '';
    });
  }
});

function compareBoxes(actualText: string, expectedText: string): void {
  const expected = readBoxes(expectedText);
  const actual = readBoxes(actualText).filter(({ title }) => !addedBoxes.includes(title));
  assert.deepEqual(
    actual.map(({ title, header }) => ({ title, header })),
    expected.map(({ title, header }) => ({ title, header })),
  );
  for (const [index, box] of expected.entries()) {
    const found: Box | undefined = actual[index];
    const extra = added[box.title ?? ''] ?? [];
    assert.deepEqual(
      found?.names.filter((name) => !extra.includes(name)),
      box.names,
    );
    // The introduction cuts one table off with an ellipsis.
    assert.deepEqual(found?.lines.slice(0, box.lines.length), box.lines);
    if (box.title === 'Materials' && box.header?.includes('SET')) {
      assert.deepEqual(
        found?.rows.map((row) => row.slice(0, 5)),
        box.rows.map((row) => row.slice(0, 5)),
      );
    }
  }
}

function masked(line: string): string {
  return line.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll(/\/tmp\/|f8a5\w+/g, '\\S*');
}

/** The keys of the printed envelope, in their order, down to the signature. */
function envelopeKeys(text: string): readonly string[] {
  return [...keysOf(text)];
}

function keysOf(text: string): ReadonlySet<string> {
  return new Set(Array.from(text.matchAll(/"([A-Za-z_]\w*)":/g), ([, key = '']) => key));
}
