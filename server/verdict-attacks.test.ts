import assert from 'node:assert/strict';
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { mkdtempDisposable, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { sql } from 'drizzle-orm';
import { createApi } from '../client/api.ts';
import { createKeylessPorts } from '../client/signing.ts';
import { createKeylessSigner } from '../core/adapters/keyless.ts';
import { parseBundle } from '../core/bundle.ts';
import type { CraftedMaterial } from '../core/crafting.ts';
import { digestOf } from '../core/digest.ts';
import { isChainloopError } from '../core/errors.ts';
import type { VerdictView } from '../core/verdict.ts';
import { newWorkflow, openedRun, someAttested } from '../db/fixtures.ts';
import { endRun, expireRuns, pushRun } from '../db/run-states.ts';
import { databaseRefusal } from '../db/violation.ts';
import { databaseKinds, forEachDatabase, newOrganization } from '../test/databases.ts';
import { type ControlPlane, startControlPlane } from '../test/fakes/control-plane.ts';
import { startFederatedPlane } from '../test/fakes/federated.ts';
import { githubJob, startIssuer } from '../test/fakes/issuer.ts';
import { startJob, text } from '../test/fakes/job.ts';
import { startPostgres } from '../test/fakes/postgres.ts';
import { needs } from '../test/needs.ts';

const contract = `schemaVersion: v1
materials:
  - { type: STRING, name: commit }
  - { type: ARTIFACT, name: binary, output: true }
annotations: [{ name: severity }]
envAllowList: [CUSTOM_VAR]
`;

/** What the control plane signed, as it lies in storage. */
async function signedOf(plane: ControlPlane, token: string, { vsa, provenance }: VerdictView): Promise<string[]> {
  const signed = [vsa, provenance].filter((one) => one !== null);
  return Promise.all(
    signed.map(async ({ digest }) => {
      const answer = await fetch(`${plane.url}/v2/acme/blobs/${digest}`, { headers: { authorization: `Bearer ${token}` } });
      const bundle = await answer.text();
      assert.equal(digestOf(bundle), digest);
      return Buffer.from(parseBundle(bundle).payload).toString();
    }),
  );
}

/** Another value of the same kind: one that whoever lies would like to see there. */
function lieAbout(value: unknown): unknown {
  if (typeof value === 'boolean') return !value;
  if (typeof value === 'number') return value + 1;
  if (/^[0-9a-f]{40,64}$/.test(String(value))) return 'e'.repeat(String(value).length);
  if (/^\d{4}-\d\d-\d\dT/.test(String(value))) return '1999-01-01T00:00:00.000Z';
  return `evil-${value}`;
}

/** Each value in a document: where it is, and the document with a lie in its place. */
function* lies(
  document: unknown,
  path: readonly (string | number)[] = [],
): Generator<{ readonly at: string; readonly lie: (root: unknown) => unknown }> {
  if (typeof document !== 'object' || document === null) {
    yield { at: path.join('.'), lie: (root) => replaced(root, path, lieAbout(document)) };
    return;
  }
  for (const [key, value] of Object.entries(document)) yield* lies(value, [...path, key]);
}

function replaced(root: unknown, [key, ...rest]: readonly (string | number)[], value: unknown): unknown {
  if (key === undefined) return value;
  const child = typeof root === 'object' && root !== null ? Object.entries(root).find(([name]) => name === key)?.[1] : undefined;
  if (Array.isArray(root)) return root.map((one, index) => (String(index) === key ? replaced(child, rest, value) : one));
  return { ...(typeof root === 'object' ? root : {}), [key]: replaced(child, rest, value) };
}

for (const kind of databaseKinds) {
  test(`forged fields: a client that lies about each field of what it sends changes nothing in verdict and provenance (${kind})`, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    await using federated = await startFederatedPlane({ database: kind });
    const { plane, api, github, exchange } = federated;
    await api.contract.update.mutate({ name: 'release', format: 'yaml', body: contract });
    await federated.bind('github');
    const { token: reader } = await api.apiToken.create.mutate({ name: 'reader' });
    let runNumber = 0;
    const runner = { authenticated: false } as const;

    /** An open run of a new CI run, with its evidence in storage. */
    async function opened(lie: { readonly init?: object; readonly begin?: object; readonly collect?: object } = {}) {
      const runId = String(++runNumber);
      const { token } = await exchange(await github.github({ claims: { run_id: runId } }));
      const own = plane.api(token);
      const job = await startJob({ url: plane.url, organization: 'acme', token });
      const run = await own.attestation.init.mutate({ runner, idempotencyKey: randomUUID(), ...lie.init });
      const start = { env: { CUSTOM_VAR: 'value' }, annotations: { severity: 'low' } };
      const head = {
        commit: githubJob.sha,
        authorName: 'alice',
        message: 'a change',
        remotes: [{ name: 'origin', url: 'https://github.com/acme/app' }],
      };
      await own.attestation.begin.mutate({ runId: run.runId, start: { ...start, head, ...lie.begin } });
      const binary = { ...(await job.upload('binary', 'the same bytes every time')), annotations: {} };
      await own.attestation.collect.mutate({ runId: run.runId, material: binary, job: 'build', ...lie.collect });
      const materials: CraftedMaterial[] = [text('commit', githubJob.sha), binary];
      const signer = createKeylessSigner(createKeylessPorts(own));
      const push = async (change: (statement: string) => string = (statement) => statement): Promise<string> => {
        const bundle = await job.bundle(run, materials, { start: { runner: run.runner, ...start, head }, signer, text: change });
        await job.push(run, bundle);
        return bundle;
      };
      return { run, runId, push };
    }

    /** What was signed, without what is of this one run by its nature: its ids, its times, its attestation. */
    async function judged({ run, runId }: Awaited<ReturnType<typeof opened>>, bundle: string): Promise<readonly string[]> {
      const verdict = await api.verdict.describe.query({ runId: run.runId });
      const { run: shown } = await api.run.describe.query({ id: run.runId });
      const signed = await signedOf(plane, reader, verdict);
      assert.equal(signed.length, 2);
      const own: readonly (readonly [string, string])[] = [
        [digestOf(bundle).slice(7), 'ATTESTATION'],
        [run.runId, 'RUN'],
        [`/runs/${runId}/attempts/1`, '/runs/CI-RUN/attempts/1'],
        [shown.initializedAt, 'OPENED'],
        [shown.finishedAt ?? '', 'ACCEPTED'],
      ];
      return signed.map((payload) => own.reduce((changed, [from, to]) => changed.replaceAll(from, to), payload));
    }

    const honest = await opened();
    let statement = '';
    const expected = await judged(
      honest,
      await honest.push((said) => {
        statement = said;
        return said;
      }),
    );
    assert.match(expected[0] ?? '', /SLSA_BUILD_LEVEL_2/);

    let refused = 0;
    let accepted = 0;
    await t.test('in the statement, each value of it', async () => {
      let job = await opened();
      for (const { at, lie } of lies(JSON.parse(statement))) {
        let changed = false;
        const attempt = job.push((said) => {
          const told = JSON.stringify(lie(JSON.parse(said)));
          changed = told !== said;
          return told;
        });
        const outcome = await attempt.catch((error: unknown) => error);
        assert.ok(changed, at);
        if (typeof outcome === 'string') {
          assert.deepEqual(await judged(job, outcome), expected, at);
          accepted++;
          job = await opened();
        } else {
          assert.ok(isChainloopError(outcome), `${at}: ${outcome}`);
          assert.deepEqual((await api.verdict.describe.query({ runId: job.run.runId })).vsa, null, at);
          refused++;
        }
      }
    });
    await t.test('in the statement, what is not in it, and what must be the same at two places', async () => {
      const both = (said: string): string => said.replaceAll('"name":"binary.txt"', '"name":"https://evil.example/latest"');
      const extra: readonly ((said: string) => string)[] = [
        (said) => said.replace('"predicate":{', '"predicate":{"slsaLevel":3,'),
        (said) => said.replace('"predicate":{', '"predicate":{"verifiedLevels":["SLSA_BUILD_LEVEL_3"],'),
        (said) => said.replace('"predicate":{', '"predicate":{"buildDefinition":{"externalParameters":{}},'),
        (said) => said.replace('"runnerAuthenticated":true', '"runnerAuthenticated":true,"runnerAuthenticated":true'),
        both,
      ];
      for (const change of extra) {
        const job = await opened();
        const outcome = await job.push(change).catch((error: unknown) => error);
        if (typeof outcome === 'string') assert.deepEqual(await judged(job, outcome), expected);
        else assert.ok(isChainloopError(outcome), String(outcome));
        if (typeof outcome === 'string') accepted++;
        else refused++;
      }
    });
    await t.test('at init, begin and collect', async () => {
      const head = { commit: githubJob.sha, remotes: [] };
      const start = { env: { CUSTOM_VAR: 'value' }, annotations: { severity: 'low' }, head };
      const rows: readonly Parameters<typeof opened>[0][] = [
        { init: { runner: { ...runner, type: 'GITLAB_PIPELINE' } } },
        { init: { runner: { ...runner, type: 'JENKINS_JOB', url: 'https://evil.example' } } },
        { init: { runner: { ...runner, environment: 'self-hosted' } } },
        { init: { runner: { ...runner, workflowFilePath: '.github/workflows/evil.yml' } } },
        { init: { runner: { authenticated: true } } },
        { init: { workflow: 'other' } },
        { init: { project: 'other' } },
        { init: { contractRevision: 1 } },
        { init: { idempotencyKey: 'the-key-of-somebody-else' } },
        { begin: { ...start, env: { CUSTOM_VAR: 'evil' } } },
        { begin: { ...start, annotations: { severity: 'evil' } } },
        { begin: { ...start, head: { ...head, commit: 'e'.repeat(40) } } },
        {
          begin: {
            ...start,
            head: {
              ...head,
              authorName: 'evil',
              date: '1999-01-01',
              message: 'evil',
              remotes: [{ name: 'evil', url: 'https://evil.example' }],
            },
          },
        },
        { collect: { job: 'acme/builders/.github/workflows/build.yml' } },
      ];
      for (const lie of rows) {
        const outcome = await opened(lie).then(
          async (job) => judged(job, await job.push()),
          (error: unknown) => error,
        );
        if (isChainloopError(outcome)) refused++;
        else {
          assert.deepEqual(outcome, expected, JSON.stringify(lie));
          accepted++;
        }
      }
    });
    t.diagnostic(`${refused + accepted} lies: ${refused} refused, ${accepted} taken without any effect on what is signed`);
  });

  test(`the same run gives the same predicate bytes: by two servers, after restarts, and however often it is done (${kind})`, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-verdicts-')));
    const database =
      kind === 'pglite'
        ? { dataDir: join(folder.path, 'database') }
        : { databaseUrl: await stack.use(await startPostgres()).createDatabase() };
    const options = { publicUrl: 'https://chainloop.example.com' };
    const start = () => startControlPlane({ database, dataDir: folder.path, options });
    let plane = await start();
    const { token } = await plane.createOrganization('acme');
    const api = () => plane.api(token);
    await api().contract.create.mutate({ name: 'release', format: 'yaml', body: contract });
    const account = await plane.createServiceAccount(api(), { workflow: 'release', project: 'bedrock', contract: 'release' });
    const job = await startJob({ url: plane.url, organization: 'acme', token: account, trustedBy: api() });
    const run = await job.init();
    await job.push(
      run,
      await job.bundle(run, [text('commit', 'x'), await job.upload('binary', 'bytes')], { start: { env: { CUSTOM_VAR: 'v' } } }),
    );
    const payloads = new Set<string>();
    const signatures = new Set<string>();
    /** As it is now; then storage loses it, so that whoever is asked next signs again. */
    async function look(by: ControlPlane): Promise<void> {
      const views = await Promise.all(Array.from({ length: 3 }, () => by.api(token).verdict.describe.query({ runId: run.runId })));
      const [verdict] = views;
      assert.ok(verdict?.vsa != null);
      for (const other of views) assert.deepEqual(other, verdict);
      signatures.add(verdict.vsa.digest);
      for (const payload of await signedOf(by, token, verdict)) payloads.add(payload);
      await rm(join(folder.path, 'storage', 'acme', 'blobs', 'sha256', verdict.vsa.digest.slice(7)));
    }
    await look(plane);
    await look(plane);
    await plane.close();
    plane = await start();
    await look(plane);
    if (kind === 'postgresql') {
      const second = await start();
      await look(second);
      await look(plane);
      await second.close();
    }
    await plane.close();
    assert.equal(payloads.size, 1);
    assert.equal(signatures.size, kind === 'postgresql' ? 5 : 3, 'it was signed anew each time');
  });
}

test('no job is certified as the verifier, whatever its CI system is said to be and whatever it says', async () => {
  const origin = 'https://chainloop.example.com';
  await using hostile = await startIssuer();
  await using federated = await startFederatedPlane({ options: { publicUrl: origin } }, [
    { issuer: hostile.issuer, kind: 'github', serverUrl: 'https://Chainloop.example.com:443', allowInsecure: true },
  ]);
  const { plane } = federated;
  await federated.bind('github', { issuer: hostile.issuer });
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  for (const ref of [
    'verifier',
    '/verifier',
    'verifier@refs/heads/main',
    'verifier/x.yml@refs/heads/main',
    './verifier',
    'x/../verifier',
    'organizations/acme/projects/bedrock/workflows/release/service-accounts/job',
  ]) {
    const subjectToken = await hostile.github({ audience: origin, claims: { job_workflow_ref: ref } });
    const { token, identity } = await federated.exchange(subjectToken);
    const own = createApi({ url: plane.url, token, version: 'test', retryBudgetMs: 0 });
    const asked = own.signing.certificate.mutate({
      publicKey: publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
      proof: sign('sha256', Buffer.from(identity.san), privateKey).toString('base64'),
    });
    await assert.rejects(asked, (error) => isChainloopError(error, 'FORBIDDEN'), identity.san);
  }
});

forEachDatabase('the database takes a verdict on a success alone, whoever writes it', async (_, database) => {
  const { scope, id } = await newOrganization(database);
  const workflow = await newWorkflow(scope);
  const write = async (runId: string): Promise<string | undefined> =>
    scope
      .run((tx) =>
        tx.execute(sql`insert into verdicts (org_id, run_id, level, reasons, vsa_digest, vsa_size_bytes)
          values (${id}, ${runId}, 3, '[]', sha256('x'), 1)`),
      )
      .then(
        () => undefined,
        (error) => databaseRefusal(error)?.constraint,
      );
  const now = new Date();
  const open = await openedRun(scope, workflow.id);
  const expired = await openedRun(scope, workflow.id, new Date(now.getTime() - 1));
  await expireRuns(database.system, now, 1_000);
  const ended = await Promise.all(
    (['failed', 'cancelled'] as const).map(async (state) => {
      const run = await openedRun(scope, workflow.id);
      await endRun(scope, run.id, { state, reason: '', now });
      return run;
    }),
  );
  for (const run of [open, expired, ...ended]) assert.equal(await write(run.id), 'verdicts_of_success');
  await pushRun(scope, open.id, someAttested('x'), now);
  assert.equal(await write(open.id), undefined);
});
