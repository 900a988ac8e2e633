import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startGitlabJob } from '../fakes/ci-job.ts';
import { type Fault, startFaultProxy } from '../fakes/fault-proxy.ts';
import { startFederatedPlane } from '../fakes/federated.ts';
import { refused, succeeded } from '../fakes/workplace.ts';
import { isLong, record } from './reliability.ts';

// F14: who certifies and who stamps is down when a job signs without a key. Public Sigstore is not asked by any code here.

const contract = 'schemaVersion: v1\nmaterials:\n  - { type: ARTIFACT, name: binary, output: true }\n';
const always = { times: 1_000_000 };
const rows: readonly { readonly what: string; readonly fault: Fault }[] = [
  { what: 'the certificate authority answers 503', fault: { type: 'status', status: 503, path: /signing\.certificate/, ...always } },
  {
    what: 'the certificate authority resets the connection',
    fault: { type: 'cutRequest', afterBytes: 0, path: /signing\.certificate/, ...always },
  },
  { what: 'the timestamp authority answers 503', fault: { type: 'status', status: 503, path: /timestamp/, ...always } },
  { what: 'the timestamp authority resets the connection', fault: { type: 'cutRequest', afterBytes: 0, path: /timestamp/, ...always } },
];

test('F14: without a certificate or a timestamp nothing is pushed, and the same command goes on when they are back', {
  timeout: 240_000,
}, async (t) => {
  await using federated = await startFederatedPlane();
  await federated.api.contract.update.mutate({ name: 'release', format: 'yaml', body: contract });
  await federated.bind('gitlab');
  await using proxy = await startFaultProxy({ target: federated.plane.url });
  let run = 7200;
  for (const { what, fault } of isLong ? rows : rows.slice(1, 3)) {
    // The token is for the control plane by its own name; the requests go through the proxy.
    await using job = await startGitlabJob({
      url: federated.plane.url,
      issuer: federated.gitlab,
      claims: { pipeline_id: String(++run) },
      env: { CHAINLOOP_URL: proxy.origin, CHAINLOOP_RETRY_SECONDS: '1' },
    });
    await writeFile(join(job.checkout, 'app.bin'), 'the program');
    succeeded(await job.run('attestation', 'init'));
    succeeded(await job.run('attestation', 'add', '--name', 'binary', '--value', 'app.bin'));
    proxy.inject(fault);
    refused(await job.run('attestation', 'push'), 75, /control plane/);
    assert.ok(
      proxy.requests.some((request) => request.fault !== undefined),
      what,
    );
    const [open] = (await federated.api.run.list.query({})).items;
    assert.equal(open?.state, 'initialized', what);
    proxy.clear();
    succeeded(await job.run('attestation', 'push'));
    const { attestation } = await federated.api.run.describe.query({ id: open?.id ?? '' });
    assert.equal(attestation?.verified, true, what);
    record(t, {
      fault: 'F14',
      what: `keyless signing: ${what}`,
      trials: 1,
      sees: 'exit 75 and what to do; never a success without signature and time',
      stored: 'the run stays open, its evidence stays; the same push ends in one success that verifies',
    });
  }
});
