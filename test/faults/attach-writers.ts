import { attachAlone } from '../fakes/lone-writer.ts';
import type { Work } from './attach-race.ts';

// A process of writers: each as if it was alone.

process.on('message', (work: Work) => {
  const all = Array.from({ length: work.writers }, (_, index) => attachAlone(work, `${work.name}-${index}`));
  Promise.allSettled(all).then((ended) =>
    process.send?.(ended.map((one) => (one.status === 'fulfilled' ? { attached: one.value } : { failed: String(one.reason) }))),
  );
});
