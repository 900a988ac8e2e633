import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { refused, startWorkplace, succeeded } from '../test/fakes/workplace.ts';

// An attestation that is open in this folder: where it goes on, what is found out before it is signed, how it is forgotten.

const work = await startWorkplace({ contract: 'schemaVersion: v1\nmaterials: [{ type: ARTIFACT, name: binary, output: true }]\n' });
await work.write('app', 'the program');
after(() => work[Symbol.asyncDispose]());
const { line } = work;
const job = (args: readonly string[], env: NodeJS.ProcessEnv = {}) => line.run(['attestation', ...args], { env: { ...work.job, ...env } });
const newest = async () => {
  const [run] = (await work.api.run.list.query({ limit: 1 })).items;
  return (await work.api.run.describe.query({ id: run?.id ?? '' })).run;
};
/** The same control plane by another name: another origin. */
const elsewhere = work.plane.url.replace('127.0.0.1', 'localhost');

async function begin(): Promise<void> {
  succeeded(await job(['init', '--replace']));
  succeeded(await job(['add', '--name', 'binary', '--value', 'app']));
}

test('an attestation is gone on with where it was begun: another control plane or organization is refused, and gets no token', async () => {
  await begin();
  for (const [args, env, says] of [
    [['--url', elsewhere], {}, /--url: the attestation that is open here was begun at http:\/\/127/],
    [[], { CHAINLOOP_URL: elsewhere }, /CHAINLOOP_URL: /],
    [['--organization', 'other'], {}, /--organization: .* in organization acme/],
  ] as const) {
    for (const verb of [['add', '--name', 'binary', '--value', 'app'], ['push'], ['reset']]) {
      refused(await job([...verb, ...args], env), 2, says);
    }
  }
  assert.equal((await newest()).state, 'initialized');
  succeeded(await job(['push', '--url', work.plane.url, '--organization', 'acme']));
});

test('a bundle that cannot be written stops the push before anything is signed', async () => {
  await begin();
  await mkdir(join(line.folder, 'folder'), { recursive: true });
  for (const [path, says] of [
    ['missing/b.json', /no such folder: missing/],
    ['release.key/b.json', /no such folder/],
    ['folder', /folder: it is a directory/],
    ['/dev/null', /not a regular file/],
  ] as const) {
    refused(await job(['push', '--bundle', path]), 2, says);
  }
  assert.equal((await newest()).state, 'initialized');
  succeeded(await job(['push', '--bundle', 'b.json']));
  assert.ok(existsSync(join(line.folder, 'b.json')));
  assert.deepEqual(
    (await readdir(line.folder)).filter((name) => name.startsWith('b.json.')),
    [],
  );
});

test('what was kept and cannot be read is forgotten, and nobody says that its run is over', async () => {
  await begin();
  const [folder = ''] = (await readdir(join(line.folder, 'state'))).filter((name) => !name.includes('.ended-'));
  await writeFile(join(line.folder, 'state', folder, 'start.json'), '{');
  const reset = await job(['reset']);
  succeeded(reset);
  assert.match(reset.stderr, /^WRN Attestation forgotten here; .*its run stays open until it expires\n$/);
  assert.equal((await newest()).state, 'initialized');
});

test('an init that is refused for what it was given ends its run with the reason', async () => {
  const ended = await job(['init', '--annotation', 'nope=1']);
  assert.equal(ended.code, 3);
  const { state, reason } = await newest();
  assert.equal(state, 'cancelled');
  assert.match(reason ?? '', /nope/);
});

test('a dry run with a contract in CUE says who evaluates it, and how to do without', async () => {
  await work.write('contract.cue', 'schemaVersion: "v1"\n');
  const dryRun = ['init', '--dry-run', '--contract', 'contract.cue', '--attestation-id', 'dry'];
  refused(await job(dryRun), 5, /contract\.cue: .*the control plane evaluates CUE, for operators; .*cue export --out yaml/);
});

test('a file whose name storage would refuse is refused before anything is sent', async () => {
  const path = await work.write('new\nline.txt', 'x');
  const operator = (...args: readonly string[]) => line.run(args, { env: work.operator });
  refused(await operator('artifact', 'upload', '-f', path), 2, /"new\\nline\.txt".*rename the file first/);
  const { digest }: { digest: string } = JSON.parse(succeeded(await operator('artifact', 'upload', '-f', 'app', '--output', 'json')));
  refused(
    await operator('artifact', 'download', '-d', digest, '--name', '../x'),
    2,
    /--name: '\.\.\/x' is not a plain file name: .*--path/,
  );
});
