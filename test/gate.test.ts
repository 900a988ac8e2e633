import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, test } from 'node:test';
import { errorTable, isErrorCode } from '../core/errors.ts';
import { databaseKinds, type Kind } from './databases.ts';
import { createFakeAuthority } from './fakes/authority.ts';
import { type Attested, type GateScene, san, startGateScene } from './fakes/gate.ts';
import { needs } from './needs.ts';

// The release gate, as a process: each row is a release that must not happen, refused with a code of its own; and its fix is tried.

const scenes = new Map<Kind, Promise<GateScene>>();
after(async () => {
  for (const opening of scenes.values()) await (await opening)[Symbol.asyncDispose]();
});

function claim(name: string, fn: (scene: GateScene) => Promise<void>, kinds: readonly Kind[] = databaseKinds): void {
  for (const kind of kinds) {
    test(`${name} (${kind})`, async (t) => {
      if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
      const opening = scenes.get(kind) ?? startGateScene(kind);
      scenes.set(kind, opening);
      await fn(await opening);
    });
  }
}

type Tried = Awaited<ReturnType<GateScene['verify']>>;

function passed({ code, answer, stderr }: Tried) {
  assert.equal(code, 0, stderr);
  assert.equal(answer?.verdict, 'passed');
  assert.ok(answer.checks.every(({ ok, fix }) => ok && fix === null));
  return answer;
}

/** Refused with that code, its exit, and one line that says why; the answer is the fix of the check that failed first. */
function refusedWith(code: string, { code: exit, answer, stderr }: Tried): string {
  assert.ok(isErrorCode(code));
  assert.deepEqual([answer?.code, exit, answer?.verdict], [code, errorTable[code].exit, 'failed'], stderr);
  const said: { readonly error: { readonly code: string } } = JSON.parse(stderr.trimEnd().split('\n').at(-1) ?? '');
  assert.equal(said.error.code, code);
  for (const check of answer?.checks ?? []) assert.deepEqual(Object.keys(check), ['name', 'ok', 'expected', 'found', 'fix']);
  const first = answer?.checks.find(({ ok }) => !ok);
  assert.ok(first?.fix, stderr);
  return first.fix;
}

/** The options in a fix, as somebody would copy them. */
function optionsIn(fix: string): readonly string[] {
  return Array.from(fix.matchAll(/(--[a-z-]+) ([^\s,;']+)/g), ([, name = '', value = '']) => [name, value]).flat();
}

const stranger = createFakeAuthority('stranger');

/** One thing that is wrong: how the gate is asked, and with what change it passes. */
type Row = {
  readonly name: string;
  readonly code: string;
  readonly ask: (scene: GateScene, good: Attested, base: readonly string[]) => Promise<Asked>;
};
type Asked = {
  readonly args: readonly string[];
  readonly token?: string;
  /** What the fix says, done. Absent: there is none but another attestation. */
  readonly mend: (fix: string) => Promise<{ readonly args: readonly string[]; readonly token?: string }>;
};

const altered = (text: string): string => text.replace(/"sig":"(.)/, (_, first: string) => `"sig":"${first === 'A' ? 'B' : 'A'}`);

const rows: readonly Row[] = [
  {
    name: 'a tampered bundle',
    code: 'ATTESTATION_INVALID',
    async ask(scene, good, base) {
      const path = await scene.write('tampered.json', altered(await readFile(good.bundle, 'utf8')));
      return {
        args: [good.artifact, ...base, '--bundle', path],
        async mend(fix) {
          const [, command = ''] = /chainloop (workflow run describe .*)$/.exec(fix) ?? [];
          const again = await scene.line.run(command.split(' '), { env: { CHAINLOOP_URL: scene.plane.url, CHAINLOOP_TOKEN: scene.token } });
          return { args: [good.artifact, ...base, '--bundle', await scene.write('again.json', again.stdout)] };
        },
      };
    },
  },
  {
    name: 'another artifact',
    code: 'ARTIFACT_NOT_ATTESTED',
    async ask(scene, good, base) {
      const other = await scene.write('other.bin', 'something else');
      return {
        args: [other, ...base, '--bundle', good.bundle],
        mend: async (fix) => ({ args: [/sha256:[0-9a-f]{64}/.exec(fix)?.[0] ?? '', ...base, '--bundle', good.bundle] }),
      };
    },
  },
  {
    name: 'another workflow',
    code: 'OTHER_WORKFLOW',
    ask: async (_, good, base) => ({
      args: [good.artifact, ...base, '--bundle', good.bundle, '--workflow', 'bedrock/strict'],
      mend: async (fix) => ({ args: [good.artifact, ...base, '--bundle', good.bundle, ...optionsIn(fix)] }),
    }),
  },
  {
    name: 'another contract',
    code: 'OTHER_CONTRACT',
    ask: async (_, good, base) => ({
      args: [good.artifact, ...base, '--bundle', good.bundle, '--contract', 'strict@1'],
      mend: async (fix) => ({ args: [good.artifact, ...base, '--bundle', good.bundle, ...optionsIn(fix)] }),
    }),
  },
  {
    name: 'an older contract revision',
    code: 'CONTRACT_REVISION',
    ask: async (_, good, base) => ({
      args: [good.artifact, ...base, '--bundle', good.bundle, '--contract', 'release@9'],
      mend: async (fix) => ({ args: [good.artifact, ...base, '--bundle', good.bundle, ...optionsIn(fix)] }),
    }),
  },
  {
    name: 'another signer',
    code: 'ATTESTATION_SIGNER',
    ask: async ({ root }, good) => ({
      args: [good.artifact, '--trust-root', root, '--bundle', good.bundle, '--identity', `${san}-evil`],
      mend: async (fix) => ({ args: [good.artifact, '--trust-root', root, '--bundle', good.bundle, ...optionsIn(fix)] }),
    }),
  },
  {
    name: 'a wrong root',
    code: 'TRUST_ROOT_MISMATCH',
    async ask(scene, good, base) {
      const wrong = await scene.write('wrong-root.json', stranger.trustRoot());
      const args = [good.artifact, '--identity', san, '--bundle', good.bundle, '--trust-root', wrong];
      return {
        args,
        async mend(fix) {
          assert.match(fix, /chainloop trust-root export --output FILE/);
          const path = await scene.write('exported.json', '');
          await scene.line.run(['trust-root', 'export', '--output', path], { env: { CHAINLOOP_URL: scene.plane.url } });
          return {
            args: [
              good.artifact,
              ...base.filter((word) => word === '--online'),
              '--identity',
              san,
              '--bundle',
              good.bundle,
              '--trust-root',
              path,
            ],
          };
        },
      };
    },
  },
  {
    name: 'a foreign organization',
    code: 'OTHER_ORGANIZATION',
    ask: async (scene, good, base) => ({
      args: [good.artifact, ...base, '--bundle', good.bundle, '--organization', 'other'],
      token: scene.otherToken,
      mend: async (fix) => ({ args: [good.artifact, ...base, '--bundle', good.bundle, ...optionsIn(fix)], token: scene.token }),
    }),
  },
];

claim('what a GitHub-shaped job attested passes online, and says which contract it satisfies', async (scene) => {
  const { artifact, runId } = await scene.attest();
  const answer = passed(
    await scene.verify([artifact, '--workflow', 'bedrock/release', '--contract', 'release', '--trust-root', scene.root], scene),
  );
  assert.deepEqual([answer.run, answer.contract?.name, answer.trustRoot.from], [runId, 'release', 'file']);
  assert.deepEqual(
    answer.checks.map(({ name }) => name),
    ['bundle', 'signer', 'signature', 'artifact', 'organization', 'workflow', 'contract', 'run'],
  );
});

/** Files alone are asked for nothing more online: there `--online` adds the control plane's word. */
const online = (args: readonly string[]): readonly string[] => (args.includes('--bundle') ? [...args, '--online'] : args);

for (const { name, code, ask } of rows) {
  claim(`online, ${name} is refused, and the fix is true`, async (scene) => {
    const { args, token = scene.token, mend } = await ask(scene, await scene.attest(), ['--trust-root', scene.root]);
    const fix = refusedWith(code, await scene.verify(online(args), { token }));
    const mended = await mend(fix);
    passed(await scene.verify(online(mended.args), { token: mended.token ?? scene.token }));
  });
}
