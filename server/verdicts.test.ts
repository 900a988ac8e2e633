import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bundleFromJSON } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import * as z from 'zod';
import type { Api } from '../client/api.ts';
import { createKeylessPorts } from '../client/signing.ts';
import { createKeylessSigner } from '../core/adapters/keyless.ts';
import { parseBundle } from '../core/bundle.ts';
import { Contract, contractDigest } from '../core/contract.ts';
import { digestOf } from '../core/digest.ts';
import { isChainloopError } from '../core/errors.ts';
import { loadTrustRoot } from '../core/trust-root.ts';
import { parseVsa, type VerdictView, vsaExtension } from '../core/verdict.ts';
import { verifyBundle } from '../core/verify.ts';
import { databaseKinds } from '../test/databases.ts';
import type { ControlPlane } from '../test/fakes/control-plane.ts';
import { type FederatedPlane, startFederatedPlane } from '../test/fakes/federated.ts';
import { githubJob } from '../test/fakes/issuer.ts';
import { startJob, text } from '../test/fakes/job.ts';
import { needs } from '../test/needs.ts';
import { until } from '../test/until.ts';

/** For jobs of any CI system. */
const contract = `schemaVersion: v1
materials:
  - { type: STRING, name: commit }
  - { type: ARTIFACT, name: binary, output: true }
annotations: [{ name: severity }]
`;
const commit = githubJob.sha;
const reusable = `acme/builders/.github/workflows/build.yml@${'b'.repeat(40)}`;
/** A job of a reusable workflow of another repository, pinned by its commit. */
const isolated = { job_workflow_ref: reusable, job_workflow_sha: 'b'.repeat(40) };

const Entries = z.array(z.object({ digest: z.string() })).optional();
/** A manifest, or an index. */
const Answer = z.object({ layers: Entries, manifests: Entries });

type Started = Awaited<ReturnType<typeof started>>;

/** A job with nothing but a token of its CI system, or with a service account, and its open run. */
async function started(plane: ControlPlane, token: string, trustedBy?: Api) {
  const job = await startJob({ url: plane.url, organization: 'acme', token, trustedBy });
  const run = await job.init();
  const materials = [text('commit', commit), await job.upload('binary', `the binary of ${run.runId}`)];
  const keyless = createKeylessSigner(createKeylessPorts(plane.api(token)));
  return { job, run, runId: run.runId, materials, keyless, api: plane.api(token), binary: materials[1]?.digest ?? '' };
}

async function federatedJob(
  { plane, github, exchange }: FederatedPlane,
  runId: string,
  claims: Record<string, string> = {},
): Promise<Started> {
  const { token } = await exchange(await github.github({ claims: { run_id: runId, ...claims } }));
  return started(plane, token);
}

/** Signs with the certificate of the job, or with its key, and pushes. */
async function pushed({ job, run, materials, keyless }: Started, way: 'keyless' | 'key' = 'keyless'): Promise<string> {
  const bundle = await job.bundle(run, materials, {
    start: { runner: run.runner, env: {} },
    ...(way === 'keyless' && { signer: keyless }),
  });
  await job.push(run, bundle);
  return bundle;
}

/** The bytes of a blob of the organization, through the gateway. */
async function blob(plane: ControlPlane, token: string, digest: string): Promise<{ readonly status: number; readonly text: string }> {
  const answer = await fetch(`${plane.url}/v2/acme/blobs/${digest}`, { headers: { authorization: `Bearer ${token}` } });
  return { status: answer.status, text: await answer.text() };
}

/** When the outbox has done its work. */
const settled = (api: Api): Promise<void> =>
  until('the outbox is empty', async () => (await api.outbox.list.query({ state: 'pending' })).items.length === 0);

function payloadOf(bundle: string): string {
  return Buffer.from(parseBundle(bundle).payload).toString();
}

for (const kind of databaseKinds) {
  test(`verdicts (${kind})`, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    let days = 0;
    await using federated = await startFederatedPlane({ database: kind, now: () => new Date(Date.now() + days * 24 * 60 * 60 * 1000) });
    const { plane, api } = federated;
    const { token } = await api.apiToken.create.mutate({ name: 'reader' });
    await api.contract.update.mutate({ name: 'release', format: 'yaml', body: contract });
    await federated.bind('github');
    await federated.bind('gitlab');
    const described = (runId: string): Promise<VerdictView> => api.verdict.describe.query({ runId });
    const read = async (signed: { readonly digest: string } | null): Promise<string> => {
      assert.ok(signed !== null);
      const found = await blob(plane, token, signed.digest);
      assert.equal(digestOf(found.text), signed.digest);
      return found.text;
    };

    await t.test(
      'after a push there is a summary beside the attestation, which others and we verify with the exported trust root alone',
      async () => {
        const job = await federatedJob(federated, '1');
        const bundle = await pushed(job);
        await settled(api);
        const verdict = await described(job.runId);
        assert.deepEqual(
          [verdict.result, verdict.level, verdict.reasons, verdict.verifier, verdict.problem],
          [
            'PASSED',
            2,
            ['The job is not of a reusable workflow: whoever may change what is built may change how.'],
            `${plane.url}/verifier`,
            null,
          ],
        );
        const root = await api.trustRoot.get.query();
        const trustRoot = await loadTrustRoot(JSON.stringify(root));
        const verifier = new Verifier(toTrustMaterial(TrustedRoot.fromJSON(root)), {
          tlogThreshold: 0,
          ctlogThreshold: 0,
          timestampThreshold: 1,
        });
        for (const signed of [verdict.vsa, verdict.provenance]) {
          const found = await read(signed);
          const { identity } = verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(found))));
          assert.deepEqual([identity?.subjectAlternativeName, identity?.extensions?.issuer], [`${plane.url}/verifier`, plane.url]);
          const policy = {
            type: 'identity',
            trustRoot,
            identity: { exact: `${plane.url}/verifier` },
            issuer: plane.url,
            strict: true,
          } as const;
          assert.equal(verifyBundle(found, policy).signer.name, `${plane.url}/verifier`);
        }
        const vsa = parseVsa(Buffer.from(payloadOf(await read(verdict.vsa))));
        const { run } = await api.run.describe.query({ id: job.runId });
        const revision = await api.contract.describe.query({ name: 'release' });
        assert.deepEqual(vsa.subject, [{ name: 'binary', digest: { sha256: job.binary.slice(7) } }]);
        assert.deepEqual(vsa.predicate, {
          verifier: { id: `${plane.url}/verifier` },
          timeVerified: run.finishedAt,
          resourceUri: `${plane.url}/organizations/acme/projects/bedrock/workflows/release`,
          policy: {
            uri: `${plane.url}/organizations/acme/contracts/release/revisions/2`,
            digest: { sha256: contractDigest(Contract.parse(revision.contract)).slice(7) },
          },
          inputAttestations: [{ uri: `${plane.url}/v2/acme/blobs/${digestOf(bundle)}`, digest: { sha256: digestOf(bundle).slice(7) } }],
          verificationResult: 'PASSED',
          verifiedLevels: ['SLSA_BUILD_LEVEL_2'],
          slsaVersion: '1.2',
          [vsaExtension]: { runId: job.runId, reasons: verdict.reasons },
        });
        const provenance = JSON.parse(payloadOf(await read(verdict.provenance)));
        assert.deepEqual(provenance, {
          _type: 'https://in-toto.io/Statement/v1',
          subject: [{ name: 'binary', digest: { sha256: job.binary.slice(7) } }],
          predicateType: 'https://slsa.dev/provenance/v1',
          predicate: {
            buildDefinition: {
              buildType: 'https://chainloop.dev/buildtypes/ci-run/v1',
              externalParameters: { repository: 'https://github.com/acme/app', ref: 'refs/heads/main', workflow: githubJob.workflow_ref },
              internalParameters: {
                event: 'push',
                issuer: federated.github.issuer,
                ownerId: '123456',
                repositoryId: '456789',
                runnerEnvironment: 'github-hosted',
              },
              resolvedDependencies: [{ uri: 'git+https://github.com/acme/app@refs/heads/main', digest: { gitCommit: commit } }],
            },
            runDetails: {
              builder: { id: `https://github.com/${githubJob.job_workflow_ref}` },
              metadata: {
                invocationId: 'https://github.com/acme/app/actions/runs/1/attempts/1',
                startedOn: run.initializedAt,
                finishedOn: run.finishedAt,
              },
            },
          },
        });
      },
    );

    await t.test('who has the artifact finds the summary and the provenance among its referrers', async () => {
      const job = await federatedJob(federated, '2');
      await pushed(job);
      await settled(api);
      const { vsa, provenance } = await described(job.runId);
      const headers = { authorization: `Bearer ${token}`, accept: 'application/vnd.oci.image.manifest.v1+json' };
      const get = async (path: string) => Answer.parse(await (await fetch(`${plane.url}/v2/acme/${path}`, { headers })).json());
      const manifest = await fetch(`${plane.url}/v2/acme/manifests/material-${job.binary.slice(7)}`, { headers });
      const { manifests = [] } = await get(`referrers/${manifest.headers.get('docker-content-digest')}`);
      const layers = await Promise.all(manifests.map(async ({ digest }) => (await get(`manifests/${digest}`)).layers?.[0]?.digest));
      assert.equal(layers.length, 3);
      assert.ok(layers.includes(vsa?.digest ?? '') && layers.includes(provenance?.digest ?? ''));
      for (const { digest } of [vsa, provenance].filter((signed) => signed !== null)) {
        assert.equal((await get(`manifests/attestation-${digest.slice(7)}`)).layers?.[0]?.digest, digest);
      }
    });

    await t.test('the level of a run is as it was built, and says what it lacks', async () => {
      const account = await plane.createServiceAccount(api, { workflow: 'release', project: 'bedrock' });
      const gitlabToken = async () => (await federated.exchange(await federated.gitlab.gitlab({ claims: { pipeline_id: '3' } }))).token;
      const rows = [
        ['service account, key', () => started(plane, account, api), 'key', 1, /Only the job itself says where it ran/],
        ['service account, keyless', () => started(plane, account), 'keyless', 1, /Only the job itself/],
        ['federated, key', async () => trusted(await federatedJob(federated, '31')), 'key', 1, /signed with a key/],
        ['federated', () => federatedJob(federated, '32'), 'keyless', 2, /not of a reusable workflow/],
        ['GitLab', async () => started(plane, await gitlabToken()), 'keyless', 2, /GitLab does not prove/],
        [
          'self-hosted',
          () => federatedJob(federated, '33', { ...isolated, runner_environment: 'self-hosted' }),
          'keyless',
          2,
          /self-hosted/,
        ],
        [
          'a tag',
          () => federatedJob(federated, '34', { ...isolated, job_workflow_ref: reusable.replace(/@.*/, '@refs/tags/v1') }),
          'keyless',
          2,
          /not pinned/,
        ],
        ['another commit', () => federatedJob(federated, '35', { ...isolated, job_workflow_sha: commit }), 'keyless', 2, /not pinned/],
        ['isolated', () => federatedJob(federated, '36', isolated), 'keyless', 3, /^$/],
        ['isolated, all brought by it', async () => brought(await federatedJob(federated, '37', isolated)), 'keyless', 3, /^$/],
        [
          'isolated, brought by another job',
          async () => broughtByOther('38'),
          'keyless',
          2,
          /outside of the reusable workflow brought evidence/,
        ],
      ] as const;
      async function trusted(job: Started): Promise<Started> {
        await api.key.trust.mutate({ name: 'job', pem: job.job.publicKeyPem });
        return job;
      }
      async function brought(job: Started, by = job): Promise<Started> {
        for (const material of job.materials)
          await by.api.attestation.collect.mutate({
            runId: job.runId,
            material: { ...material, annotations: { ...material.annotations } },
            job: 'build',
          });
        return job;
      }
      async function broughtByOther(runId: string): Promise<Started> {
        const job = await federatedJob(federated, runId, isolated);
        const other = await federated.exchange(await federated.github.github({ claims: { run_id: runId } }));
        return brought(job, { ...job, api: plane.api(other.token) });
      }
      for (const [what, start, way, level, reason] of rows) {
        const job = await start();
        await pushed(job, way);
        const verdict = await described(job.runId);
        assert.equal(verdict.level, level, `${what}: ${verdict.reasons.join(' ')}`);
        assert.match(verdict.reasons.join(' '), reason, what);
        assert.equal(verdict.provenance === null, level === 1, what);
        assert.deepEqual(parseVsa(Buffer.from(payloadOf(await read(verdict.vsa)))).predicate.verifiedLevels, [`SLSA_BUILD_LEVEL_${level}`]);
      }
    });

    await t.test('what failed, was cancelled, expired or is open has no summary, whatever is asked and however it races', async () => {
      const none = async (runId: string, result: 'FAILED' | null) => {
        const verdict = await described(runId);
        assert.deepEqual([verdict.result, verdict.level, verdict.vsa, verdict.provenance], [result, null, null, null]);
      };
      const open = await federatedJob(federated, '41');
      await none(open.runId, null);
      for (const state of ['failed', 'cancelled'] as const) {
        const job = await federatedJob(federated, state === 'failed' ? '421' : '422');
        await job.api.attestation.end.mutate({ runId: job.runId, state });
        await none(job.runId, 'FAILED');
        await assert.rejects(pushed(job), (error) => isChainloopError(error, 'RUN_ALREADY_FINISHED'));
        await none(job.runId, 'FAILED');
      }
      // Whoever is first, the push or the end: there is a summary if and only if the run is a success.
      for (let round = 0; round < 4; round++) {
        const job = await federatedJob(federated, `${4300 + round}`);
        const bundle = await job.job.bundle(job.run, job.materials, { start: { runner: job.run.runner }, signer: job.keyless });
        await Promise.allSettled([
          job.job.push(job.run, bundle),
          job.api.attestation.end.mutate({ runId: job.runId, state: 'cancelled' }),
          described(job.runId),
        ]);
        await settled(api);
        const { run } = await api.run.describe.query({ id: job.runId });
        const verdict = await described(job.runId);
        assert.deepEqual([verdict.result, verdict.vsa === null], run.state === 'success' ? ['PASSED', false] : ['FAILED', true]);
      }
    });

    await t.test('it goes with its attestation when retention removes it, and does not come back', async () => {
      const job = await federatedJob(federated, '5');
      const bundle = await pushed(job);
      await settled(api);
      const verdict = await described(job.runId);
      await api.retention.set.mutate({ attestationDays: 1 });
      days = 3;
      const reader = (await api.apiToken.create.mutate({ name: 'later' })).token;
      let cursor: string | undefined;
      for (let more = true; more; ) ({ nextCursor: cursor, more } = await api.retention.collect.mutate({ dryRun: false, cursor }));
      await settled(api);
      for (const digest of [digestOf(bundle), verdict.vsa?.digest, verdict.provenance?.digest]) {
        assert.equal((await blob(plane, reader, digest ?? '')).status, 404);
      }
      const after = await described(job.runId);
      assert.deepEqual([after.result, after.vsa], ['PASSED', verdict.vsa]);
      assert.match(after.problem ?? '', /retention removed/);
      assert.equal((await blob(plane, reader, verdict.vsa?.digest ?? '')).status, 404);
    });
  });
}
