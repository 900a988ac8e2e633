import { serve } from '../../server/main.ts';

// `node serve.ts DIR`: a control plane in a process of its own, on a free port; test/fakes/killable-server.ts starts it.
const [dataDir] = process.argv.slice(2);
await serve({ listen: process.env.TEST_LISTEN ?? '127.0.0.1:0', dataDir, allowPrivateRegistries: true }, process.env, 'test');
