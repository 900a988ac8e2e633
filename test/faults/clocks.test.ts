import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startGithubJob } from '../fakes/ci-job.ts';
import { commandLine } from '../fakes/command-line.ts';
import { startFederatedPlane } from '../fakes/federated.ts';
import { startWorkplace, succeeded } from '../fakes/workplace.ts';
import { needs } from '../needs.ts';
import { isLong, record } from './reliability.ts';

// F10: the clock of the job, or of the control plane, is wrong. `faketime` gives a process another time of day; durations stay true.

const contract = 'schemaVersion: v1\nmaterials:\n  - { type: ARTIFACT, name: binary, output: true }\n';
const offsets = isLong ? ['-1d', '-5m', '-2m', '-30s', '+30s', '+2m', '+5m', '+1d'] : ['-2m', '+1d'];
/** Of init, add and push: it goes backwards while the job runs. */
const backwards = ['+5m', '+0s', '-5m'] as const;
const through = (offset: string) => ['faketime', '-f', offset] as const;
const env = { FAKETIME_DONT_FAKE_MONOTONIC: '1' };

test("F10: a job whose clock is wrong attests as always; the order of runs is the server's", { timeout: 600_000 }, async (t) => {
  if (!needs(t, 'faketime')) return;
  await using work = await startWorkplace({ contract });
  await work.write('app.bin', 'the program');
  const order: string[] = [];
  for (const [init, add, push] of [...offsets.map((offset) => [offset, offset, offset] as const), backwards]) {
    const at = (offset: string) => ({ env: { ...work.job, ...env }, through: through(offset) });
    succeeded(await work.line.run(['attestation', 'init'], at(init)));
    succeeded(await work.line.run(['attestation', 'add', '--name', 'binary', '--value', 'app.bin'], at(add)));
    const { runId }: { runId: string } = JSON.parse(succeeded(await work.line.run(['attestation', 'push', '--output', 'json'], at(push))));
    order.push(runId);
  }
  const { items } = await work.api.run.list.query({});
  assert.deepEqual(
    items.map(({ id }) => id),
    order.toReversed(),
  );
  for (const { id, createdAt, finishedAt } of items) {
    assert.ok(Math.abs(Date.parse(createdAt) - Date.now()) < 600_000);
    assert.ok(Date.parse(finishedAt ?? '') >= Date.parse(createdAt));
    const { attestation } = await work.api.run.describe.query({ id });
    assert.equal(attestation?.verified, true);
  }
  record(t, {
    fault: 'F10',
    what: `the clock of the job is off by ${offsets.join(', ')}, and once goes from ${backwards.join(' to ')} during the job (signing with a key)`,
    trials: order.length,
    sees: 'nothing',
    stored: 'a success that verifies, in the order in which the server took them, with its times',
  });
});

test("F10: a job without a key whose clock is wrong signs, and what it signed verifies: the time is the authority's", {
  timeout: 600_000,
}, async (t) => {
  if (!needs(t, 'faketime')) return;
  await using federated = await startFederatedPlane();
  await federated.api.contract.update.mutate({ name: 'release', format: 'yaml', body: contract });
  await federated.bind('github');
  let run = 7100;
  const taken = isLong ? offsets : offsets.slice(-1);
  for (const offset of taken) {
    await using job = await startGithubJob({ url: federated.plane.url, issuer: federated.github, claims: { run_id: String(++run) } });
    await using line = await commandLine({ ...job.env, ...env, CHAINLOOP_URL: federated.plane.url, CHAINLOOP_RETRY_SECONDS: '5' });
    const bundle = join(line.folder, 'bundle.json');
    await writeFile(join(job.checkout, 'app.bin'), 'the program');
    for (const args of [['init'], ['add', '--name', 'binary', '--value', 'app.bin'], ['push', '--bundle', bundle]]) {
      succeeded(await line.run(['attestation', ...args], { through: through(offset), cwd: job.checkout }));
    }
  }
  const { items } = await federated.api.run.list.query({});
  assert.deepEqual(new Set(items.map(({ state }) => state)), new Set(['success']));
  assert.equal(items.length, taken.length);
  record(t, {
    fault: 'F10',
    what: `the clock of the job is off by ${taken.join(', ')} (keyless signing)`,
    trials: taken.length,
    sees: 'nothing: certificate and timestamp come from the control plane, and are judged by its time',
    stored: 'a success that verifies',
  });
});

test("F10: a control plane whose clock differs from the CI system's takes a token within 30 s, and beyond that names the clocks", async (t) => {
  let skewMs = 0;
  await using federated = await startFederatedPlane({ now: () => new Date(Date.now() + skewMs) });
  await federated.bind('github');
  const outcomes: string[] = [];
  for (const [seconds, expected] of [
    [0, 'taken'],
    [-20, 'taken'],
    [20, 'taken'],
    // A token is good for five minutes.
    [120, 'taken'],
    [-120, 'refused'],
    [-86_400, 'refused'],
    [86_400, 'refused'],
  ] as const) {
    skewMs = 0;
    const token = await federated.github.github({});
    skewMs = seconds * 1000;
    const ended = await federated.exchange(token).then(
      () => 'taken',
      (error: unknown) => String(error),
    );
    if (expected === 'taken') assert.equal(ended, 'taken', `${seconds} s`);
    else if (seconds < 0)
      assert.match(ended, /in the future: its issuer's clock is \d+ s ahead of this control plane's; check the clocks/, `${seconds} s`);
    else assert.match(ended, /it expired 86\d\d\d s ago by the clock of this control plane, .*check that clock/, `${seconds} s`);
    outcomes.push(`${seconds} s ${expected}`);
  }
  record(t, {
    fault: 'F10',
    what: `the clock of the control plane differs from that of the CI system's issuer: ${outcomes.join(', ')}`,
    trials: outcomes.length,
    sees: 'within 30 s nothing; beyond that exit 5: the token was issued in the future, or has expired, by how many seconds, check the clocks',
    stored: 'nothing of what was refused',
  });
});
