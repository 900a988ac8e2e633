import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createControlPlane } from '../client/control-plane.ts';
import { craftingDirectory, createCraftingStore } from '../core/adapters/crafting-store.ts';
import { files } from '../core/adapters/files.ts';
import { createRegistryClient } from '../core/adapters/oci/client.ts';
import { createEvidenceStore } from '../core/adapters/oci/evidence-store.ts';
import { add, init } from '../core/attestation.ts';
import { databaseKinds } from '../test/databases.ts';
import { commandLine, type Ended } from '../test/fakes/command-line.ts';
import { startControlPlane } from '../test/fakes/control-plane.ts';
import { startFaultProxy } from '../test/fakes/fault-proxy.ts';
import { startIssuer } from '../test/fakes/issuer.ts';
import { startSigstore } from '../test/fakes/sigstore/server.ts';
import { refused, succeeded } from '../test/fakes/workplace.ts';
import { needs } from '../test/needs.ts';

// `attestation push --signing sigstore` and `--on-outage`, as a job calls them.

const release = 'https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main';
const contract = 'schemaVersion: v1\nmaterials:\n  - { type: STRING, name: commit }\n  - { type: ARTIFACT, name: binary, output: true }\n';

const sigstore = await startSigstore();
const issuer = await startIssuer({ audience: 'sigstore' });
after(async () => {
  await issuer[Symbol.asyncDispose]();
  await sigstore[Symbol.asyncDispose]();
});
const ours = ['--signing', 'sigstore', '--sigstore-trusted-root', 'root.json', '--sigstore-signing-config', 'services.json'];

type Deferred = {
  readonly state: string;
  readonly signed: boolean;
  readonly bundle: { readonly dsseEnvelope: { readonly payload: string } } | null;
};

/** What the job was told: loudly, and nothing that is not so. */
function deferred(ended: Ended, says: RegExp): Deferred {
  const answer: Deferred = JSON.parse(succeeded(ended));
  assert.equal(answer.state, 'deferred');
  assert.match(ended.stderr, /^WRN DEFERRED, nothing is recorded: /m);
  assert.match(ended.stderr, says);
  assert.doesNotMatch(ended.stderr, /pushed!/);
  return answer;
}

for (const kind of databaseKinds) {
  test(`what Sigstore signs, and its outages (${kind})`, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    await using plane = await startControlPlane({ database: kind });
    await using proxy = await startFaultProxy({ target: plane.url });
    const acme = await plane.createOrganization('acme');
    await acme.api.contract.create.mutate({ name: 'release', format: 'yaml', body: contract });
    const token = await plane.createServiceAccount(acme.api, { workflow: 'release', project: 'bedrock', contract: 'release' });
    await using cli = await commandLine({ CHAINLOOP_URL: proxy.origin, CHAINLOOP_TOKEN: token });

    const run = async (...args: readonly string[]): Promise<Ended> => cli.run(args, { env: { SIGSTORE_ID_TOKEN: await issuer.github() } });
    const push = (...args: readonly string[]): Promise<Ended> => run('attestation', 'push', ...args);
    const pushes = () => proxy.requests.filter(({ path }) => path.includes('attestation.push')).length;

    await writeFile(join(cli.folder, 'server.tar'), 'the server');
    await writeFile(join(cli.folder, 'root.json'), sigstore.trustRoot());
    await writeFile(join(cli.folder, 'services.json'), sigstore.signingConfig());
    const identity = ['--name', 'sigstore', '--issuer', issuer.issuer, '--san', release, '--ca', 'root.json'];
    succeeded(await cli.run(['identity', 'trust', ...identity], { env: { CHAINLOOP_TOKEN: acme.token } }));

    /** `init --replace` and `add`, in this process: what is tested here is the push. */
    async function craft(): Promise<string> {
      const controlPlane = createControlPlane({ url: proxy.origin, token, retryBudgetMs: 0 });
      const store = createCraftingStore(await craftingDirectory({ env: cli.env, workspace: cli.folder }));
      await store.remove();
      const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', credentials: { type: 'bearer', token } });
      try {
        const ports = { store, controlPlane, files, images: { resolve: () => assert.fail() }, evidence: createEvidenceStore({ client }) };
        const git = { head: async () => undefined };
        const from = { type: 'controlPlane', origin: proxy.origin } as const;
        const { start } = await init({ ...ports, git, newId: randomUUID, now: () => new Date() }, { from, env: {}, directory: cli.folder });
        await add(ports, { name: 'commit', value: 'deadbeef' });
        await add(ports, { name: 'binary', value: join(cli.folder, 'server.tar') });
        return start.identity.runId;
      } finally {
        client.close();
      }
    }

    /** Of the run: its state, and the digest of what is recorded. */
    async function recorded(runId: string): Promise<{ readonly state: string; readonly digest: string | undefined }> {
      const { run: row, attestation } = await acme.api.run.describe.query({ id: runId });
      return { state: row.state, digest: attestation?.digest };
    }

    await t.test('Sigstore signs, the organization trusts it, and anybody verifies it with its trusted root', async () => {
      const runId = await craft();
      const pushed = await push(...ours, '--bundle', 'bundle.json');
      succeeded(pushed);
      assert.match(pushed.stderr, new RegExp(`^INF Signing with Sigstore as ${release}$`, 'm'));
      assert.match(pushed.stderr, /^INF digest, signature and identity go into the transparency log of 127\.0\.0\.1:\d+, for good/m);
      assert.equal((await recorded(runId)).state, 'success');
      const verify = ['attestation', 'verify', '--bundle', 'bundle.json', '--trust-root', 'root.json', '--identity', release, 'server.tar'];
      assert.match(
        succeeded(await cli.run(verify, { env: { CHAINLOOP_URL: 'http://127.0.0.1:9', CHAINLOOP_TOKEN: '' } })),
        /│ Signer +│ https:\/\/github/,
      );
    });

    await t.test('nothing but --signing sigstore ever asks Sigstore: by default a push does not know whether it is there', async () => {
      const asked = sigstore.requests.length;
      for (const args of [[], ['--signing', 'keyless']]) {
        const runId = await craft();
        succeeded(await push(...args));
        assert.equal((await recorded(runId)).state, 'success');
      }
      assert.equal(sigstore.requests.length, asked);
    });

    await t.test('options that contradict each other, and files that are no such thing, are refused before anything is sent', async () => {
      await craft();
      const asked = [sigstore.requests.length, pushes()];
      refused(await push('--signing', 'sigstore', '--key', 'k'), 2, /exclude each other/);
      refused(await push(...ours.slice(0, 4)), 2, /--sigstore-signing-config is missing beside sigstore-trusted-root/);
      refused(await push(...ours.slice(2)), 2, /--sigstore-trusted-root is for --signing sigstore/);
      refused(await push(...ours.with(3, 'absent.json')), 2, /absent\.json/);
      refused(await push(...ours.with(5, 'root.json')), 2, /signing config: mediaType is not/);
      refused(await push(...ours.with(3, 'services.json')), 2, /trusted root: mediaType is not/);
      refused(await cli.run(['attestation', 'push', ...ours]), 5, /SIGSTORE_ID_TOKEN.*'aud: sigstore'/s);
      assert.deepEqual([sigstore.requests.length, pushes()], asked);
    });

    await t.test(
      'an outage of Sigstore ends a push that needs it with 75; the attestation goes on, and nothing is called signed',
      async () => {
        const runId = await craft();
        sigstore.fail('rekor2', async () => ({ status: 503, body: { message: 'maintenance' } }));
        refused(await push(...ours, '--bundle', 'none.json'), 75, /Rekor: .*status 503: maintenance; try again later/);
        await assert.rejects(readFile(join(cli.folder, 'none.json')));
        assert.equal((await recorded(runId)).state, 'initialized');
        succeeded(await run('attestation', 'add', '--name', 'commit', '--value', 'c0ffee'));
        sigstore.fail('rekor2', []);
        succeeded(await push(...ours));
        assert.equal((await recorded(runId)).state, 'success');
      },
    );

    await t.test(
      'an outage that was foreseen keeps what was sealed, not signed; the next push signs these bytes, and sends them once',
      async () => {
        const runId = await craft();
        const sent = pushes();
        sigstore.fail('fulcio', async () => 'reset');
        const told = deferred(
          await push(...ours, '--on-outage', 'defer', '--output', 'json', '--bundle', 'unsigned.json'),
          /sealed and kept, NOT SIGNED/,
        );
        assert.deepEqual([told.signed, told.bundle], [false, null]);
        await assert.rejects(readFile(join(cli.folder, 'unsigned.json')), 'what is not signed is no bundle');
        assert.deepEqual([pushes(), (await recorded(runId)).state], [sent, 'initialized']);

        refused(await run('attestation', 'add', '--name', 'commit', '--value', 'other'), 6, /it is sealed, and waits for its signature/);
        const status: { sealed: boolean; unsigned: boolean } = JSON.parse(
          succeeded(await run('attestation', 'status', '--output', 'json')),
        );
        assert.deepEqual([status.sealed, status.unsigned], [false, true]);
        // Still away: nothing changes.
        deferred(await push(...ours, '--on-outage', 'defer', '--output', 'json'), /NOT SIGNED/);

        sigstore.fail('fulcio', []);
        const next = await push(...ours, '--output', 'json');
        assert.match(next.stderr, /^INF It is sealed already, by a push that could not sign it/m);
        const { digest, bundle }: { digest: string; bundle: { dsseEnvelope: { payload: string } } } = JSON.parse(succeeded(next));
        assert.deepEqual(await recorded(runId), { state: 'success', digest });
        assert.equal(pushes(), sent + 1);
        const { finishedAt } = JSON.parse(Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString()).predicate.metadata;
        assert.ok(Date.parse(finishedAt) <= Date.now());
        refused(await push(...ours), 2, /none is open here/);
      },
    );

    await t.test('what was sealed can be signed in another way, or given up', async () => {
      const runId = await craft();
      sigstore.fail('tsa', async () => 'reset');
      deferred(await push(...ours, '--on-outage', 'defer', '--output', 'json'), /NOT SIGNED/);
      succeeded(await push('--signing', 'keyless'));
      assert.equal((await recorded(runId)).state, 'success');
      const other = await craft();
      deferred(await push(...ours, '--on-outage', 'defer', '--output', 'json'), /NOT SIGNED/);
      succeeded(await run('attestation', 'reset'));
      assert.equal((await recorded(other)).state, 'cancelled');
      sigstore.fail('tsa', []);
    });

    await t.test('when the control plane is away, what was signed is kept, and the next push sends the same bytes, once', async () => {
      const runId = await craft();
      const sent = pushes();
      proxy.inject({ path: /attestation\.push/, type: 'status', status: 503, times: 9 });
      const told = deferred(
        await push(...ours, '--on-outage', 'defer', '--output', 'json', '--bundle', 'kept.json'),
        /The signed attestation is kept; send it before its run expires, from here, with: chainloop attestation push/,
      );
      assert.equal(told.signed, true);
      assert.equal((await recorded(runId)).state, 'initialized');
      const kept = await readFile(join(cli.folder, 'kept.json'), 'utf8');
      assert.deepEqual(JSON.parse(kept), told.bundle);
      proxy.clear();
      const asked = sigstore.requests.length;
      const { digest, bundle }: { digest: string; bundle: unknown } = JSON.parse(
        succeeded(await push('--output', 'json', '--bundle', 'sent.json')),
      );
      assert.deepEqual(bundle, told.bundle);
      assert.equal(await readFile(join(cli.folder, 'sent.json'), 'utf8'), kept);
      assert.deepEqual(await recorded(runId), { state: 'success', digest });
      assert.equal(sigstore.requests.length, asked, 'it is not signed again');
      assert.equal(pushes(), sent + 2);
      refused(await push(), 2, /none is open here/);
    });

    await t.test('a push whose answer was lost was recorded: the next one finds its work done', async () => {
      const runId = await craft();
      proxy.inject({ path: /attestation\.push/, type: 'loseAnswer' });
      const told = deferred(await push(...ours, '--on-outage', 'defer', '--output', 'json'), /The signed attestation is kept/);
      const first = await recorded(runId);
      assert.equal(first.state, 'success');
      const again: { digest: string; bundle: unknown } = JSON.parse(succeeded(await push('--output', 'json')));
      assert.deepEqual([again.digest, again.bundle], [first.digest, told.bundle]);
    });

    await t.test('only outages are deferred: what is refused is refused', async () => {
      await craft();
      sigstore.fail('fulcio', async () => ({ status: 400, body: { message: 'no such issuer' } }));
      refused(await push(...ours, '--on-outage', 'defer'), 1, /Fulcio: .*no such issuer/);
      sigstore.fail('fulcio', []);
      const other = {
        SIGSTORE_ID_TOKEN: await issuer.github({ claims: { job_workflow_ref: 'acme/evil/.github/workflows/x.yml@refs/heads/main' } }),
      };
      refused(await cli.run(['attestation', 'push', ...ours, '--on-outage', 'defer'], { env: other }), 1, /trusted here is/);
    });
  });
}
