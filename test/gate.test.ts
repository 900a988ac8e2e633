import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gate } from '../cli/gate.ts';
import { digestOf, hexOf } from '../core/digest.ts';
import { errorTable, isErrorCode } from '../core/errors.ts';
import { databaseKinds, type Kind } from './databases.ts';
import { createFakeAuthority } from './fakes/authority.ts';
import { commandLine } from './fakes/command-line.ts';
import { type Attested, type GateScene, gateContract, san, startGateScene } from './fakes/gate.ts';
import { invoked } from './fakes/invoked.ts';
import { refused, succeeded } from './fakes/workplace.ts';
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
  const args = [artifact, '--workflow', 'bedrock/release', '--contract', 'release', '--trust-root', scene.root];
  const answer = passed(await scene.verify(args, { token: scene.token, alone: true }));
  assert.deepEqual([answer.run, answer.contract?.name, answer.trustRoot.from], [runId, 'release', 'file']);
  assert.deepEqual(
    answer.checks.map(({ name }) => name),
    ['bundle', 'signer', 'signature', 'artifact', 'organization', 'workflow', 'contract', 'run'],
  );
});

/** Files alone are asked for nothing more online: there `--online` adds the control plane's word. */
const online = (args: readonly string[]): readonly string[] => (args.includes('--bundle') ? [...args, '--online'] : args);
/** On a machine without network: a program of its own, which any connection ends. */
const alone = {
  alone: true,
  env: { NODE_OPTIONS: `--import=${new URL('fakes/no-network.ts', import.meta.url)}`, CHAINLOOP_URL: 'http://127.0.0.1:9' },
};

for (const { name, code, ask } of rows) {
  claim(`online, ${name} is refused, and the fix is true`, async (scene) => {
    const { args, token = scene.token, mend } = await ask(scene, await scene.attest(), ['--trust-root', scene.root]);
    const fix = refusedWith(code, await scene.verify(online(args), { token }));
    const mended = await mend(fix);
    passed(await scene.verify(online(mended.args), { token: mended.token ?? scene.token }));
  });
  claim(
    `offline, ${name} is refused, and the fix is true`,
    async (scene) => {
      const base = ['--trust-root', scene.root, '--identity', san];
      const { args, mend } = await ask(scene, await scene.attest(), base);
      const fix = refusedWith(code, await scene.verify(args, alone));
      passed(await scene.verify((await mend(fix)).args));
    },
    ['pglite'],
  );
}

claim(
  'from three files, without any network, what a GitHub-shaped job attested passes',
  async (scene) => {
    const { artifact, bundle } = await scene.attest();
    const args = [artifact, '--bundle', bundle, '--trust-root', scene.root, '--identity', san, '--workflow', 'bedrock/release'];
    const answer = passed(await scene.verify([...args, '--contract', 'release@2'], alone));
    assert.deepEqual(
      answer.checks.map(({ name }) => name),
      ['bundle', 'signer', 'signature', 'artifact', 'workflow', 'contract'],
    );
    assert.deepEqual(answer.contract, { name: 'release', revision: 2 });
    // That the setting does what it says.
    assert.equal(
      (await scene.verify(online(args), { ...alone, token: scene.token, env: { ...alone.env, CHAINLOOP_URL: scene.plane.url } })).code,
      99,
    );
  },
  ['pglite'],
);

claim('a run that failed, or was never pushed, is refused, though the signature is good; another run passes', async (scene) => {
  const base = ['--workflow', 'bedrock/release', '--trust-root', scene.root];
  for (const then of ['fail', 'leave'] as const) {
    const { artifact, bundle, runId } = await scene.attest({ then, content: `of a run that ends otherwise: ${then}` });
    for (const named of [[], ['--identity', san]]) {
      refusedWith('RUN_NOT_SUCCESSFUL', await scene.verify(online([artifact, '--bundle', bundle, ...base, ...named]), scene));
    }
    // Nothing says so offline, but there is no summary of it.
    refusedWith('VSA_MISSING', await scene.verify([artifact, '--bundle', bundle, ...base, '--identity', san, '--vsa'], alone));
    // The artifact alone leads to the run, too, though there is no attestation of it; in another organization to nothing.
    const nothing = await scene.verify([artifact, ...base], scene);
    const fix = refusedWith('RUN_NOT_SUCCESSFUL', nothing);
    assert.match(fix, then === 'fail' ? /another run of bedrock\/release/ : /push it/);
    const [check] = nothing.answer?.checks ?? [];
    assert.match(
      check?.found ?? '',
      new RegExp(
        `^run ${runId} of bedrock/release, ${then === 'fail' ? 'which ended as failed .the tests failed.' : 'which is still open'}$`,
      ),
    );
    refusedWith('ATTESTATION_NOT_FOUND', await scene.verify([artifact], { token: scene.otherToken }));
    // Another workflow's run is not pushed instead.
    const elsewhere = await scene.verify([artifact, '--workflow', 'bedrock/strict', '--trust-root', scene.root], scene);
    assert.match(refusedWith('RUN_NOT_SUCCESSFUL', elsewhere), /another run of bedrock\/strict/);
    await scene.attest({ content: await readFile(artifact, 'utf8') });
    passed(await scene.verify([artifact, ...base], scene));
  }
});

claim('the latest revision of a contract is asked for, and another run or the revision itself mends it', async (scene) => {
  const { artifact } = await scene.attest();
  const base = [artifact, '--trust-root', scene.root];
  passed(await scene.verify([...base, '--contract', 'release'], scene));
  const { revision } = await scene.api.contract.update.mutate({
    ...{ name: 'release', format: 'yaml' },
    body: `${gateContract}  - { type: STRING, name: reviewed-by, optional: true }\n`,
  });
  const fix = refusedWith('CONTRACT_REVISION', await scene.verify([...base, '--contract', 'release'], scene));
  passed(await scene.verify([...base, ...optionsIn(fix)], scene));
  assert.equal(passed(await scene.verify(base, scene)).contract?.revision, revision - 1);
  await scene.attest({ content: await readFile(artifact, 'utf8') });
  const answer = passed(await scene.verify([...base, '--contract', 'release'], scene));
  assert.equal(answer.contract?.revision, revision);
});

claim('of several attestations one that passes is enough; when none does, the best comes first and the others say why', async (scene) => {
  const content = 'attested by several';
  const first = await scene.attest({ content });
  const strict = await scene.attest({ content, workflow: 'strict' });
  const base = [first.artifact, '--trust-root', scene.root];
  assert.equal(passed(await scene.verify([...base, '--workflow', 'bedrock/release'], scene)).run, first.runId);
  assert.equal(passed(await scene.verify([...base, '--contract', 'strict'], scene)).run, strict.runId);
  const none = await scene.verify([...base, '--workflow', 'bedrock/release', '--contract', 'strict@1'], scene);
  refusedWith('OTHER_CONTRACT', none);
  assert.equal(none.answer?.run, first.runId);
  assert.deepEqual(
    none.answer.others.map(({ code, run }) => [code, run]),
    [['OTHER_WORKFLOW', strict.runId]],
  );
  const explained = await scene.line.run(['verify', ...base, '--workflow', 'bedrock/release', '--contract', 'strict@1', '--explain'], {
    env: { CHAINLOOP_URL: scene.plane.url, CHAINLOOP_TOKEN: scene.token },
  });
  assert.equal(explained.code, 3, explained.stderr);
  assert.match(
    explained.stdout,
    /Refused: run [\s\S]*contract +│ FAILED[\s\S]*expected +│ strict@1[\s\S]*found +│ release@\d[\s\S]*fix +│ .*--contract release@\d[\s\S]*Refused: run /,
  );
});

claim('what storage has changed is refused, and the bundle that was kept passes', async (scene) => {
  const { artifact, bundle } = await scene.attest();
  const text = await readFile(bundle, 'utf8');
  await writeFile(join(scene.plane.dataDir, 'storage', 'acme', 'blobs', 'sha256', hexOf(digestOf(text))), altered(text));
  const args = [artifact, '--trust-root', scene.root];
  assert.match(refusedWith('ATTESTATION_INVALID', await scene.verify(args, scene)), /--bundle FILE/);
  passed(await scene.verify(online([...args, '--bundle', bundle, '--identity', san]), scene));
});

claim('another organization has no attestation of it, whatever there is elsewhere', async (scene) => {
  const { artifact } = await scene.attest();
  refusedWith('ATTESTATION_NOT_FOUND', await scene.verify([artifact], { token: scene.otherToken }));
});

claim(
  'without a pinned trusted root the connection is believed, and that is said; the configuration and the environment pin one',
  async (scene) => {
    const { artifact } = await scene.attest();
    const open = await scene.verify([artifact], scene);
    assert.equal(passed(open).trustRoot.from, 'connection');
    assert.match(open.stderr, /WRN no trusted root is pinned/);
    const pinned = { CHAINLOOP_TRUST_ROOT: await scene.write('stranger.json', stranger.trustRoot()) };
    refusedWith('TRUST_ROOT_MISMATCH', await scene.verify([artifact], { token: scene.token, env: pinned }));
    await using line = await commandLine({ CHAINLOOP_URL: scene.plane.url, CHAINLOOP_TOKEN: scene.token });
    succeeded(await line.run(['config', 'set', 'url', scene.plane.url]));
    succeeded(await line.run(['config', 'set', 'trust-root', scene.root]));
    const configured = await line.run(['verify', artifact, '--output', 'json']);
    assert.deepEqual(JSON.parse(succeeded(configured)).trustRoot, { from: 'file', name: scene.root });
    assert.doesNotMatch(configured.stderr, /WRN/);
    refused(await line.run(['config', 'set', 'trust-root', artifact]), 2, /trusted root/);
  },
  ['pglite'],
);

claim(
  'no permission, no token, nobody there, and what is no question: each fails closed, with its own exit code',
  async (scene) => {
    const { artifact, bundle } = await scene.attest();
    const files = ['--bundle', bundle, '--trust-root', scene.root];
    const job = await scene.plane.createServiceAccount(scene.api, { workflow: 'release', project: 'bedrock' });
    const table: readonly (readonly [number, RegExp, readonly string[], NodeJS.ProcessEnv?])[] = [
      [5, /may only attest|API token/, [artifact], { CHAINLOOP_TOKEN: job }],
      [5, /no token/, [artifact]],
      [75, /is it running/, [artifact], { CHAINLOOP_TOKEN: scene.token, CHAINLOOP_URL: 'http://127.0.0.1:9' }],
      [1, /not found/, [artifact, '--contract', 'absent'], { CHAINLOOP_TOKEN: scene.token }],
      [2, /--identity <id>.*--vsa/, [artifact, ...files]],
      [2, /--trust-root <path> is missing/, [artifact, '--bundle', bundle, '--identity', san]],
      [2, /release@<revision>/, [artifact, ...files, '--identity', san, '--contract', 'release']],
      [2, /--organization <name> --workflow/, [artifact, ...files, '--vsa']],
      [2, /PROJECT\/NAME/, [artifact, ...files, '--identity', san, '--workflow', 'release']],
      [2, /NAME@REVISION/, [artifact, ...files, '--identity', san, '--contract', 'release@latest']],
      [2, /nothing to verify a file or digest by/, [artifact, '--offline', '--trust-root', scene.root, '--identity', san]],
      [2, /exclude each other/, [artifact, ...files, '--identity', san, '--online', '--offline']],
      [2, /give --vsa, too/, [artifact, ...files, '--identity', san, '--verifier', 'https://chainloop.example.com/verifier']],
      [2, /<origin>\/verifier/, [artifact, ...files, '--identity', san, '--vsa', '--verifier', 'https://chainloop.example.com']],
      [2, /sha256:<64 lower-case hex digits>/, [`sha512:${'a'.repeat(128)}`, ...files, '--identity', san]],
      [2, /write sha256:/, ['A'.repeat(64), ...files, '--identity', san]],
      [2, /no such file/, ['dist/app', ...files, '--identity', san]],
      [2, /no such file/, ['./ghcr.io/acme/app:v1', ...files, '--identity', san]],
      [2, /--trust-root.*is empty/, [artifact, '--bundle', bundle, '--trust-root', '', '--identity', san]],
      [2, /missing\.json/, [artifact, '--bundle', 'missing.json', '--trust-root', scene.root, '--identity', san]],
    ];
    for (const [code, says, args, env = {}] of table) {
      const at = { CHAINLOOP_URL: scene.plane.url, ...env };
      refused(await invoked(gate, ['verify', ...args], { ...scene.line.env, ...at }), code, says);
    }
  },
  ['pglite'],
);

const describeRun = async (scene: GateScene, fix: string): Promise<string> => {
  const [, command = ''] = /chainloop (workflow run describe --id \S+ --output \w+)/.exec(fix) ?? [];
  return succeeded(await scene.line.run(command.split(' '), { env: { CHAINLOOP_URL: scene.plane.url, CHAINLOOP_TOKEN: scene.token } }));
};

claim(
  'with --vsa the control plane has to vouch for the very attestation, the artifact and the contract; then nobody else has to be named',
  async (scene) => {
    const good = await scene.attest();
    const asked = [good.artifact, '--workflow', 'bedrock/release', '--trust-root', scene.root, '--vsa'];
    const answer = passed(await scene.verify(asked, scene));
    assert.match(answer.checks.find(({ name }) => name === 'vsa')?.found ?? '', /SLSA_BUILD_LEVEL_\d/);

    // Offline: the summary is one more file, and without it the gate stays closed.
    const files = [...asked, '--organization', 'acme', '--bundle', good.bundle, '--verifier', `${scene.plane.url}/verifier`];
    const fix = refusedWith('VSA_MISSING', await scene.verify(files));
    const vsa = await scene.write('fetched.vsa.json', await describeRun(scene, fix));
    const cut = await scene.write('cut.vsa.json', (await readFile(vsa, 'utf8')).slice(0, -1));
    const half = await scene.verify([...files, '--bundle', cut]);
    refusedWith('VSA_MISSING', half);
    assert.match(half.stderr, /cut\.vsa\.json: bundle: /);
    passed(await scene.verify([...files, '--bundle', vsa], alone));
  },
);

claim(
  'a verification summary that is missing, altered, or says something else, is refused, and the true one passes',
  async (scene) => {
    const good = await scene.attest();
    const other = await scene.attest();
    const base = [good.artifact, '--organization', 'acme', '--workflow', 'bedrock/release', '--trust-root', scene.root, '--vsa'];
    const files = [...base, '--bundle', good.bundle, '--verifier', `${scene.plane.url}/verifier`];
    const failed = (text: string) => text.replace('"PASSED"', '"FAILED"');
    const table: readonly (readonly [string, RegExp, string])[] = [
      ['VSA_MISSING', /^none$/, good.bundle],
      ['VSA_MISSING', /none of them of this attestation/, await scene.vsa(other)],
      [
        'VSA_INVALID',
        /could not be verified/,
        await scene.write('altered.vsa.json', altered(await readFile(await scene.vsa(good), 'utf8'))),
      ],
      ['VSA_INVALID', /verificationResult is FAILED/, await scene.vsa(good, { text: failed })],
      ['VSA_INVALID', /resourceUri is .*workflows\/strict, not/, await scene.vsa(good, { facts: { workflow: 'strict' } })],
      ['VSA_INVALID', /policy is .*revisions\/1, not/, await scene.vsa(good, { facts: { contractRevision: 1 } })],
      ['VSA_INVALID', /policy is .*contracts\/strict\//, await scene.vsa(good, { facts: { contractName: 'strict' } })],
      [
        'VSA_INVALID',
        /the artifact is not its subject/,
        await scene.vsa(other, { attestation: digestOf(await readFile(good.bundle, 'utf8')) }),
      ],
      ['VSA_INVALID', /its certificate names https:\/\/github\.com/, await scene.vsa(good, { san })],
      [
        'VSA_INVALID',
        /verifier\.id is https:\/\/evil/,
        await scene.vsa(good, { text: (text) => text.replace(/"id":"[^"]*"/, '"id":"https://evil.example.com/verifier"') }),
      ],
    ];
    for (const [code, found, vsa] of table) {
      const tried = await scene.verify([...files, '--bundle', vsa]);
      refusedWith(code, tried);
      assert.match(tried.answer?.checks.find(({ name }) => name === 'vsa')?.found ?? '', found);
    }
    passed(await scene.verify([...files, '--bundle', await scene.vsa(good)]));
    // Another control plane than the one that is trusted: its name is never taken from the summary.
    const elsewhere = [
      ...base,
      '--bundle',
      good.bundle,
      '--bundle',
      await scene.vsa(good),
      '--verifier',
      'https://chainloop.example.com/verifier',
    ];
    const fix = refusedWith('VSA_INVALID', await scene.verify(elsewhere));
    passed(await scene.verify([...elsewhere.slice(0, -2), ...optionsIn(fix)]));
  },
  ['pglite'],
);

claim('online, a summary that the control plane cannot make is missing, until its attestation is there again', async (scene) => {
  const { artifact, bundle, runId } = await scene.attest();
  const { vsa } = await scene.api.verdict.describe.query({ runId });
  const content = await readFile(bundle);
  const at = (digest: string): string => join(scene.plane.dataDir, 'storage', 'acme', 'blobs', 'sha256', digest.replace('sha256:', ''));
  for (const digest of [vsa?.digest ?? '', digestOf(content)]) await rm(at(digest));
  const asked = online([artifact, '--bundle', bundle, '--trust-root', scene.root, '--identity', san, '--vsa']);
  const fix = refusedWith('VSA_MISSING', await scene.verify(asked, scene));
  await writeFile(at(digestOf(content)), content);
  passed(await scene.verify([...asked, '--bundle', await scene.write('issued.vsa.json', await describeRun(scene, fix))], scene));
});
