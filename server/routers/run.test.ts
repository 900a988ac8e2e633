import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createKeylessPorts } from '../../client/signing.ts';
import { createKeylessSigner } from '../../core/adapters/keyless.ts';
import type { GitHead } from '../../core/crafting.ts';
import { isChainloopError } from '../../core/errors.ts';
import type { InitAnswer, Signer } from '../../core/ports.ts';
import { loadTrustRoot } from '../../core/trust-root.ts';
import { verifyBundle } from '../../core/verify.ts';
import { databaseKinds } from '../../test/databases.ts';
import { acme, certifiedSigner, createFakeAuthority, github as publicGithub } from '../../test/fakes/authority.ts';
import { startFederatedPlane } from '../../test/fakes/federated.ts';
import { githubJob } from '../../test/fakes/issuer.ts';
import { jobContract, startJob, text } from '../../test/fakes/job.ts';
import { needs } from '../../test/needs.ts';

for (const kind of databaseKinds) {
  test(`a keyless run of a CI job, from its token to what is shown of it (${kind})`, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    let minutes = 0;
    await using federated = await startFederatedPlane({ database: kind, now: () => new Date(Date.now() + minutes * 60_000) });
    const { plane, api, github, exchange } = federated;
    await api.contract.update.mutate({ name: 'release', format: 'yaml', body: jobContract });
    await federated.bind('github');

    /** A job with nothing but a token of its CI system. */
    async function newJob(runId: string, claims: Record<string, string> = {}) {
      const { token, identity } = await exchange(await github.github({ claims: { run_id: runId, ...claims } }));
      const job = await startJob({ url: plane.url, organization: 'acme', token });
      const run = await job.init();
      const materials = [text('commit', '9a96775d'), await job.upload('binary', `the binary of ${runId}`)];
      const keyless = createKeylessSigner(createKeylessPorts(plane.api(token)));
      const bundle = (signer: Signer = keyless, runner = run.runner, head?: GitHead) =>
        job.bundle(run, materials, { signer, start: { runner, ...(head !== undefined && { head }) } });
      return { job, run, identity, bundle, api: plane.api(token) };
    }
    const shown = async ({ runId }: InitAnswer) => (await api.run.describe.query({ id: runId })).attestation;

    await t.test('check 8: a federated run takes the runner that was proven, and no other', async () => {
      const { job, run, bundle } = await newJob('1');
      const lies = [
        { ...run.runner, authenticated: false },
        { ...run.runner, environment: 'self-hosted' },
        { ...run.runner, url: 'https://github.com/acme/app/actions/runs/2/attempts/1' },
        { ...run.runner, workflowFilePath: '.github/workflows/evil.yml' },
      ];
      for (const lie of lies) {
        const pushed = job.push(run, await bundle(undefined, lie));
        await assert.rejects(pushed, (error) => isChainloopError(error, 'RUNNER_MISMATCH'));
      }
      assert.equal((await job.push(run, await bundle())).state, 'success');
      const described = (await api.run.describe.query({ id: run.runId })).run;
      assert.deepEqual([described.runnerAuthenticated, described.claims?.runnerEnvironment], [true, 'github-hosted']);
    });

    await t.test('check 5: a federated job that says that another commit was built is refused, at begin and at the push', async () => {
      const { job, run, bundle, api: own } = await newJob('101');
      const at = (commit: string) => ({ commit, remotes: [] });
      const both = new RegExp(`${'e'.repeat(40)}.*${githubJob.sha}`);
      for (const commit of ['e'.repeat(40), 'e'.repeat(64)]) {
        const lie = { env: { CUSTOM_VAR: 'value' }, annotations: { severity: 'low' }, head: at(commit) };
        const begun = own.attestation.begin.mutate({ runId: run.runId, start: lie });
        await assert.rejects(begun, {
          code: 'STATEMENT_MISMATCH',
          message: new RegExp(`${commit}.*${githubJob.sha}.*checkout of that commit`),
        });
        const pushed = job.push(run, await bundle(undefined, undefined, at(commit)));
        await assert.rejects(pushed, { code: 'STATEMENT_MISMATCH', message: both });
      }
      assert.equal((await job.push(run, await bundle(undefined, undefined, at(githubJob.sha)))).state, 'success');
    });

    await t.test('the commit of a pull request is the merge that GitHub made, with the one that was proposed as its parent', async () => {
      const ref = 'refs/pull/7/merge';
      const [merge, base, proposed] = ['d', 'b', 'a'].map((digit) => digit.repeat(40));
      assert.ok(merge !== undefined && base !== undefined && proposed !== undefined);
      const id = await federated.bind('github', { refs: [ref], events: ['pull_request'] });
      const { job, run, bundle } = await newJob('102', {
        ref,
        sha: merge,
        event_name: 'pull_request',
        base_ref: 'main',
        head_ref: 'topic',
      });
      const proposedAlone = job.push(run, await bundle(undefined, undefined, { commit: proposed, remotes: [] }));
      await assert.rejects(proposedAlone, { code: 'STATEMENT_MISMATCH' });
      const head = { commit: merge, parents: [base, proposed], remotes: [] };
      assert.equal((await job.push(run, await bundle(undefined, undefined, head))).state, 'success');
      const { run: described, attestation } = await api.run.describe.query({ id: run.runId });
      assert.equal(described.claims?.commit, merge);
      assert.match(JSON.stringify(attestation?.statement), new RegExp(`"sha1":"${merge}".*"parents":\\["${base}","${proposed}"\\]`));
      await api.binding.remove.mutate({ id });
    });

    const { job, run, identity, bundle } = await newJob('2');
    const attestation = await bundle();
    await job.push(run, attestation);

    await t.test('it is verified, and its signer is the job as its CI system names it', async () => {
      const found = await shown(run);
      assert.deepEqual([found?.verified, found?.signer, found?.verificationError], [true, identity.san, null]);
      assert.deepEqual(found?.bundle, JSON.parse(attestation));
      const offline = await loadTrustRoot(JSON.stringify(await api.trustRoot.get.query()));
      const policy = { type: 'identity', trustRoot: offline, identity: { exact: identity.san }, issuer: identity.issuer } as const;
      assert.equal(verifyBundle(attestation, policy).signer.name, identity.san);
    });

    await t.test('it stays verified when its certificate is over, its binding removed, and the authority rotated', async () => {
      minutes += 60;
      for (const { id } of (await api.binding.list.query({})).items) await api.binding.remove.mutate({ id });
      await plane.api(plane.ownerToken).trustRoot.rotate.mutate();
      minutes += 60;
      assert.equal((await shown(run))?.verified, true);
      await federated.bind('github');
      const next = await newJob('3');
      await next.job.push(next.run, await next.bundle());
      assert.deepEqual([(await shown(next.run))?.verified, (await shown(run))?.verified], [true, true]);
    });

    await t.test('who signed by a trusted identity is shown as not verified once that is removed, or of another authority', async () => {
      const theirs = createFakeAuthority('theirs');
      const trust = (trustRoot: string, san = acme) =>
        api.identity.trust.mutate({ name: 'their-ci', issuer: publicGithub, identity: { exact: san }, trustRoot });
      await trust(theirs.trustRoot());
      const other = await newJob('4');
      const signer = certifiedSigner(theirs, { signedAt: new Date() });
      await other.job.push(other.run, await other.bundle(signer));
      const verdict = async (): Promise<unknown[]> => {
        const found = await shown(other.run);
        return [found?.verified, found?.signer, found?.verificationError];
      };
      assert.deepEqual(await verdict(), [true, acme, null]);
      for (const [trustRoot, san, words] of [
        [undefined, acme, /its certificate names .*; trusted here is /],
        [theirs.trustRoot(), `${acme}.1`, /its certificate names .*; trusted here is /],
        [createFakeAuthority('stranger').trustRoot(), acme, /not of an authority that the trusted root believes/],
      ] as const) {
        await api.identity.remove.mutate({ name: 'their-ci' });
        if (trustRoot !== undefined) await trust(trustRoot, san);
        else await api.identity.trust.mutate({ name: 'their-ci', issuer: publicGithub, identity: { exact: 'https://nobody' } });
        const [verified, signedBy, error] = await verdict();
        assert.deepEqual([verified, signedBy], [false, null]);
        assert.match(String(error), words);
      }
      await api.identity.remove.mutate({ name: 'their-ci' });
      await trust(theirs.trustRoot());
      assert.deepEqual(await verdict(), [true, acme, null]);
    });

    await t.test('an attestation that was changed in storage is a finding, and its record stays', async () => {
      const digest = (await shown(run))?.digest ?? '';
      const path = join(plane.dataDir, 'storage', 'acme', 'blobs', 'sha256', digest.replace('sha256:', ''));
      const kept = await readFile(path);
      await writeFile(path, Buffer.concat([kept.subarray(0, -2), Buffer.from(' }')]));
      const found = await shown(run);
      assert.deepEqual([found?.verified, found?.bundle, found?.digest], [false, null, digest]);
      assert.match(found?.verificationError ?? '', /./);
      assert.equal(found?.materials.length, 2);
      await writeFile(path, kept);
      assert.equal((await shown(run))?.verified, true);
    });
  });
}
