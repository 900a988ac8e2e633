import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { releaseCrafting, releaseMaterials, releaseStart } from '../../test/fakes/crafting.ts';
import type { CraftedMaterial, Crafting } from '../crafting.ts';
import { isChainloopError } from '../errors.ts';
import { craftingDirectory, createCraftingStore } from './crafting-store.ts';

const root = mkdtempSync(join(tmpdir(), 'chainloop-store-'));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const newDirectory = (): string => join(root, `s${++count}`, 'crafting');
const note = (name: string, value = name): CraftedMaterial => ({ name, type: 'STRING', value, uploaded: false, annotations: {} });

test('a crafting comes back as it was put in', async () => {
  const store = createCraftingStore(newDirectory());
  await store.begin(releaseStart);
  for (const material of releaseMaterials) await store.put(material);
  const { start, materials } = await store.load();
  assert.deepEqual(start, releaseStart);
  assert.deepEqual(new Set(materials), new Set(releaseCrafting.materials));
});

test('without an open crafting there is NO_CRAFTING', async () => {
  const store = createCraftingStore(newDirectory());
  await assert.rejects(store.load(), (error) => isChainloopError(error, 'NO_CRAFTING'));
  await assert.rejects(store.put(note('a')), (error) => isChainloopError(error, 'NO_CRAFTING'));
  assert.equal(await store.sealed(), undefined);
  await store.remove();
});

test('materials that are added at the same time are all there', async () => {
  const directory = newDirectory();
  await createCraftingStore(directory).begin(releaseStart);
  const names = Array.from({ length: 40 }, (_, index) => `m${index}`);
  await Promise.all(names.map((name) => createCraftingStore(directory).put(note(name))));
  const { materials } = await createCraftingStore(directory).load();
  assert.deepEqual(new Set(materials.map(({ name }) => name)), new Set(names));
});

test('of two inits at the same moment, one opens the crafting', async () => {
  const store = createCraftingStore(newDirectory());
  const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => store.begin(releaseStart)));
  const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
  assert.equal(refused.length, 7);
  for (const { reason } of refused) assert.ok(isChainloopError(reason, 'CRAFTING_OPEN'));
});

test('the key of an init is kept until the crafting ends', async () => {
  const store = createCraftingStore(newDirectory());
  assert.equal(await store.reserve('first'), 'first');
  assert.equal(await store.reserve('second'), 'first');
  await store.begin(releaseStart);
  await store.remove();
  assert.equal(await store.reserve('third'), 'third');
});

test('a bundle is kept byte for byte, and can be given up', async () => {
  const store = createCraftingStore(newDirectory());
  await store.begin(releaseStart);
  await store.seal('{"a": "ä"}');
  assert.equal(await store.sealed(), '{"a": "ä"}');
  await store.unseal();
  assert.equal(await store.sealed(), undefined);
});

test('an ended crafting leaves nothing behind, and nothing for the next one', async () => {
  const directory = newDirectory();
  const store = createCraftingStore(directory);
  await store.begin(releaseStart);
  await store.put(note('a'));
  await store.remove();
  assert.deepEqual(readdirSync(join(directory, '..')), []);
  // What a killed remove leaves is swept.
  mkdirSync(`${directory}.ended-1`);
  await store.begin(releaseStart);
  assert.deepEqual(readdirSync(join(directory, '..')), ['crafting']);
  assert.deepEqual((await store.load()).materials, []);
});

test('nobody else may read or write the state', { skip: process.platform === 'win32' && 'modes are of POSIX' }, async () => {
  const directory = newDirectory();
  const store = createCraftingStore(directory);
  await store.begin(releaseStart);
  await store.put(note('a'));
  await store.seal('{}');
  assert.equal(statSync(directory).mode & 0o777, 0o700);
  for (const name of readdirSync(directory)) assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name);
});

test('a state folder that belongs to another user is not used', {
  skip: process.getuid?.() !== 0 && 'needs root to make one',
}, async () => {
  const directory = newDirectory();
  mkdirSync(directory, { recursive: true });
  const { chownSync } = await import('node:fs');
  chownSync(directory, 4711, 4711);
  await assert.rejects(createCraftingStore(directory).begin(releaseStart), (error) => isChainloopError(error, 'STATE_CORRUPT'));
});

const broken = [
  ['is empty', 'start.json', ''],
  ['is half written', 'start.json', JSON.stringify(releaseStart).slice(0, 300)],
  ['has an unknown key', 'start.json', JSON.stringify({ ...releaseStart, extra: 1 })],
  ['is of another version', 'start.json', JSON.stringify({ ...releaseStart, version: 2 })],
  ['has a digest that is none', 'material.a.json', JSON.stringify({ ...note('a'), digest: 'md5:1' })],
  ['is about another material', 'material.a.json', JSON.stringify(note('b'))],
] as const;
for (const [what, name, text] of broken) {
  test(`a state file that ${what} is STATE_CORRUPT, and says what to do`, async () => {
    const directory = newDirectory();
    const store = createCraftingStore(directory);
    await store.begin(releaseStart);
    writeFileSync(join(directory, name), text);
    await assert.rejects(store.load(), (error) => {
      assert.ok(isChainloopError(error, 'STATE_CORRUPT'));
      assert.match(error.message, /attestation reset/);
      return true;
    });
  });
}

test('no variable of the environment but those recorded, and no credential, is in the state', async () => {
  const directory = newDirectory();
  await createCraftingStore(directory).begin(releaseStart);
  assert.doesNotMatch(readFileSync(join(directory, 'start.json'), 'utf8'), /chl_|token|password/i);
});

// faults.md, F1: kill -9 at random instants of a process that does nothing but change the state.
test('a writer that is killed at any instant leaves the old state or the new one', { timeout: 600_000 }, async (t) => {
  const kills = 30;
  const lanes = 3;
  let seen = 0;
  const states = new Map<string, number>();
  const lane = async () => {
    for (let kill = 0; kill < kills / lanes; kill++) {
      const directory = newDirectory();
      const writer = spawn(process.execPath, [join(import.meta.dirname, '../../test/fakes/crafting-writer.ts'), directory], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const ended = once(writer, 'exit');
      await once(writer.stdout, 'data');
      for (let wait = Math.floor(Math.random() * 20_000); wait > 0; wait--) await new Promise((resolve) => setImmediate(resolve));
      writer.kill('SIGKILL');
      await ended;
      const store = createCraftingStore(directory);
      const state = describe(await store.load().catch(absent), await store.sealed());
      states.set(state, (states.get(state) ?? 0) + 1);
      // Whatever was left, the next command goes on from it.
      if (state === 'none') await store.begin(releaseStart);
      await store.put(note('commit'));
      assert.ok((await store.load()).materials.some((material) => material.value === 'commit'));
      await store.remove();
      assert.equal(existsSync(directory), false);
      seen++;
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  assert.equal(seen, kills);
  t.diagnostic(
    `0 of ${kills} states corrupt (upper 95 % bound ${((3 / kills) * 100).toFixed(0)} %); found: ${JSON.stringify(Object.fromEntries(states))}`,
  );
});

function absent(error: unknown): undefined {
  if (isChainloopError(error, 'NO_CRAFTING')) return undefined;
  throw error;
}

/** Fails for any state that no sequence of whole writes gives. */
function describe(crafting: Crafting | undefined, bundle: string | undefined): string {
  if (crafting === undefined) {
    assert.equal(bundle, undefined);
    return 'none';
  }
  assert.deepEqual(crafting.start, releaseStart);
  const order = ['commit', 'note', 'binary'];
  const names = crafting.materials.map(({ name }) => name);
  assert.deepEqual(new Set(names), new Set(order.slice(0, names.length)));
  for (const { value } of crafting.materials) assert.ok([undefined, 100, 64 * 1024].includes(value?.length));
  if (bundle === undefined) return `${names.length} materials`;
  assert.equal(names.length, 3);
  assert.ok(JSON.parse(bundle));
  return 'sealed';
}

// Where the state is.
const place = (env: Record<string, string>, workspace: string, attestationId?: string) =>
  craftingDirectory({ env, workspace, attestationId });
const github = { GITHUB_ACTIONS: 'true', GITHUB_RUN_ID: '1', GITHUB_RUN_ATTEMPT: '1', GITHUB_JOB: 'a', GITHUB_REPOSITORY: 'acme/app' };
const folder = (name: string): string => {
  mkdirSync(join(root, name), { recursive: true });
  return join(root, name);
};

test('two jobs on one machine do not share their state (lessons.md, 9)', async () => {
  const env = { ...github, RUNNER_TEMP: folder('temp') };
  const workspace = folder('work');
  const places = await Promise.all([
    place(env, workspace),
    place({ ...env, GITHUB_JOB: 'b' }, workspace),
    place({ ...env, GITHUB_RUN_ATTEMPT: '2' }, workspace),
    place({ ...env, GITHUB_RUN_ID: '2' }, workspace),
    place(env, folder('work2')),
    place(env, workspace, 'second'),
  ]);
  assert.equal(new Set(places).size, places.length);
  assert.equal(await place(env, workspace), places[0]);
});

test('the steps of one job share their state, in whatever folder of the checkout they run', async () => {
  const workspace = folder('checkout/deep/er');
  mkdirSync(join(root, 'checkout/.git'), { recursive: true });
  const env = { HOME: folder('home') };
  assert.equal(await place(env, workspace), await place(env, join(root, 'checkout')));
  const job = { ...github, RUNNER_TEMP: folder('temp'), GITHUB_WORKSPACE: folder('ws') };
  assert.equal(await place(job, folder('ws/sub')), await place(job, join(root, 'ws')));
});

const bases = [
  ['CHAINLOOP_STATE_DIR first', { CHAINLOOP_STATE_DIR: '$/given', RUNNER_TEMP: '$/temp', HOME: '$/home' }, 'given'],
  ["the job's temporary folder", { RUNNER_TEMP: '$/temp', XDG_STATE_HOME: '$/xdg', HOME: '$/home' }, 'temp/chainloop'],
  ['XDG_STATE_HOME', { XDG_STATE_HOME: '$/xdg', HOME: '$/home' }, 'xdg/chainloop'],
  ['~/.local/state', { HOME: '$/home' }, 'home/.local/state/chainloop'],
] as const;
for (const [what, variables, expected] of bases) {
  test(`the state is in ${what}`, async () => {
    const env = Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, value.replace('$', root)]));
    assert.equal(join(await place(env, folder('work')), '..'), join(root, expected));
  });
}

test('the state is never inside the checkout, not even through a link', async () => {
  const workspace = folder('repo');
  mkdirSync(join(workspace, '.git'), { recursive: true });
  symlinkSync(workspace, join(root, 'link'));
  for (const folder of [join(workspace, 'state'), 'state', join(root, 'link', 'state')]) {
    await assert.rejects(place({ CHAINLOOP_STATE_DIR: folder }, workspace), (error) => isChainloopError(error, 'USAGE'));
  }
  await assert.rejects(place({ HOME: workspace }, workspace), (error) => {
    assert.ok(isChainloopError(error, 'USAGE'));
    assert.match(error.message, /set CHAINLOOP_STATE_DIR/);
    return true;
  });
  // The next candidate is taken where one is inside.
  const env = { RUNNER_TEMP: join(workspace, 'tmp'), HOME: folder('home') };
  assert.equal(join(await place(env, workspace), '..'), join(root, 'home/.local/state/chainloop'));
});

test('a folder that cannot be written says so', async () => {
  const directory = newDirectory();
  const parent = join(directory, '..');
  mkdirSync(parent, { recursive: true });
  // Root writes into any folder, so for root a file is in its place.
  if (process.getuid?.() === 0) writeFileSync(directory, '');
  else chmodSync(parent, 0o500);
  await assert.rejects(createCraftingStore(directory).begin(releaseStart), (error) => isChainloopError(error, 'FILE_UNREADABLE'));
});
