import { serve } from '../../server/main.ts';
import { collectGarbage } from '../garbage.ts';

// `node serve.ts DIR`: a control plane in a process of its own, on a free port; test/fakes/killable-server.ts starts it.
const [dataDir] = process.argv.slice(2);

/** At SIGUSR2: what it holds when all that can be let go is gone, as a line on standard error. */
process.on('SIGUSR2', () => {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  process.stderr.write(
    `held ${JSON.stringify({ heapBytes: heapUsed, externalBytes: external, resources: process.getActiveResourcesInfo().length })}\n`,
  );
});

await serve({ listen: process.env.TEST_LISTEN ?? '127.0.0.1:0', dataDir, allowPrivateRegistries: true }, process.env, 'test');
