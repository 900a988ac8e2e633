import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { files, writeFileAtomically } from '../../core/adapters/files.ts';
import { loadSigner } from '../../core/adapters/keys.ts';
import { buildBundle } from '../../core/bundle.ts';
import type { CraftedMaterial } from '../../core/crafting.ts';
import { pae, statementPayloadType } from '../../core/dsse.ts';
import { limits } from '../../core/limits.ts';
import { buildStatement } from '../../core/statement.ts';
import { startOf } from '../crafting.ts';

// `record DIRECTORY KEY OUTPUT`: every file of the directory hashed, in signed statements of as many materials as one may have.
const [directory = '', key = '', output = ''] = process.argv.slice(2);
const signer = await loadSigner(key, { env: {} });
const materials: CraftedMaterial[] = [];
for (const fileName of readdirSync(directory)) {
  await using file = await files.open(join(directory, fileName));
  const { sizeBytes } = file;
  const digest = await file.digest();
  materials.push({ name: `m${materials.length}`, type: 'ARTIFACT', digest, fileName, sizeBytes, uploaded: false, annotations: {} });
}
const origin = { finishedAt: new Date(), builderId: 'chainloop.dev/bench' };
for (let index = 0; index * limits.contractMaterials < materials.length; index++) {
  const own = materials.slice(index * limits.contractMaterials, (index + 1) * limits.contractMaterials);
  const payload = buildStatement({ type: 'sealed', start: startOf(own), materials: own }, origin);
  const signed = await signer.sign(pae(statementPayloadType, payload));
  const bundle = buildBundle({ payload, payloadType: statementPayloadType, ...signed });
  await writeFileAtomically(`${output}-${index}.json`, Buffer.from(bundle), 0o600);
}
