import { withoutSecrets } from '../../core/redact.ts';
import { escapeText } from './escape.ts';

export type Section = <T>(title: string, run: () => Promise<T>) => Promise<T>;

/** GitLab, "Job logs", "Custom collapsible sections": lines that can be folded away. */
export function sections(stream: Pick<NodeJS.WriteStream, 'write'>): Section {
  let count = 0;
  return async (title, run) => {
    const name = `chainloop_${++count}`;
    const at = (): number => Math.floor(Date.now() / 1000);
    stream.write(`\x1b[0Ksection_start:${at()}:${name}\r\x1b[0K${escapeText(withoutSecrets(title))}\n`);
    try {
      return await run();
    } finally {
      stream.write(`\x1b[0Ksection_end:${at()}:${name}\r\x1b[0K\n`);
    }
  };
}
