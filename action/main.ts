import { run } from './entry.ts';

await run('main');
