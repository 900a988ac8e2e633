import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as z from 'zod';
import { digestOf } from '../core/digest.ts';
import { startFaultProxy } from '../test/fakes/fault-proxy.ts';
import { refused, startWorkplace, succeeded } from '../test/fakes/workplace.ts';

const contract = `schemaVersion: v1
materials:
  - { type: ARTIFACT, name: binary, output: true }
  - { type: ARTIFACT, name: firmware, output: true, skipUpload: true }
`;

const Statement = z.object({
  subject: z.array(z.looseObject({ name: z.string() })),
  predicate: z.looseObject({ materials: z.array(z.object({ annotations: z.record(z.string(), z.unknown()) })) }),
});

test('a material with skipUpload is attested by digest and name, never sent, and download says why it is not there', async () => {
  await using work = await startWorkplace({ contract });
  await using proxy = await startFaultProxy({ target: work.plane.url });
  const job = { ...work.job, CHAINLOOP_URL: proxy.origin };
  const firmware = 'what must not leave the building';
  await work.write('app.bin', 'the program');
  await work.write('firmware.bin', firmware);
  succeeded(await work.line.run(['attestation', 'init'], { env: job }));
  succeeded(await work.line.run(['attestation', 'add', '--name', 'firmware', '--value', 'firmware.bin'], { env: job }));
  assert.deepEqual(
    proxy.requests.filter(({ path }) => path.startsWith('/v2/')),
    [],
    'nobody is even asked whether it is there',
  );
  succeeded(await work.line.run(['attestation', 'add', '--name', 'binary', '--value', 'app.bin'], { env: job }));
  const { runId }: { runId: string } = JSON.parse(
    succeeded(await work.line.run(['attestation', 'push', '--output', 'json'], { env: job })),
  );

  const statement = Statement.parse(
    JSON.parse(succeeded(await work.line.run(['run', 'describe', '--id', runId, '--output', 'statement'], { env: work.operator }))),
  );
  const cas = statement.predicate.materials.map(({ annotations }) => [
    annotations['chainloop.material.name'],
    annotations['chainloop.material.cas'] === true,
  ]);
  assert.deepEqual(cas, [
    ['binary', true],
    ['firmware', false],
  ]);
  assert.ok(statement.subject.some(({ name }) => name === 'firmware.bin'));

  const download = (digest: string) => work.line.run(['artifact', 'download', '-d', digest], { env: work.operator });
  refused(await download(digestOf(firmware)), 1, /material 'firmware' of run/, new RegExp(runId), /skipUpload/, /firmware\.bin/);
  refused(await download(digestOf('nobody brought this')), 1, /not found in this organization/);
});
