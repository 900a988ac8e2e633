import { createCraftingStore } from '../../core/adapters/crafting-store.ts';
import { digestOf } from '../../core/digest.ts';
import { releaseStart } from './crafting.ts';

// A process that changes a crafting for ever, to be killed at any instant: it begins, adds two versions of a material by turns, seals,
// unseals, and ends. It says when it has begun, and after each round.
const [directory = ''] = process.argv.slice(2);
const store = createCraftingStore(directory);
const sizes = { short: 'x'.repeat(100), long: 'y'.repeat(64 * 1024) };

for (let round = 0; ; round++) {
  for (const value of Object.values(sizes)) {
    await store.reserve('an-init-key');
    await store.begin(releaseStart);
    for (const name of ['commit', 'note']) await store.put({ name, type: 'STRING', value, uploaded: false, annotations: {} });
    await store.put({
      name: 'binary',
      type: 'ARTIFACT',
      digest: digestOf(value),
      fileName: 'b',
      sizeBytes: 1,
      uploaded: true,
      annotations: {},
    });
    await store.seal(JSON.stringify({ value }));
    await store.unseal();
    await store.remove();
  }
  process.stdout.write(`${round}\n`);
}
