import { files } from '../../core/adapters/files.ts';
import { createRegistryClient } from '../../core/adapters/oci/client.ts';
import { limits } from '../../core/limits.ts';

// `upload ORIGIN REPOSITORY FILE…`: the registry client alone, without a control plane.
const [origin = '', repository = '', ...paths] = process.argv.slice(2);
const client = createRegistryClient({ origin, repository });
const waiting = paths.values();
await Promise.all(
  Array.from({ length: limits.uploadConcurrency }, async () => {
    for (const path of waiting) {
      await using file = await files.open(path);
      await client.uploadBlob(file);
    }
  }),
);
client.close();
