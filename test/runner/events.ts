import * as z from 'zod';

/** What a test file tells its runner while it runs. */
export const FileEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('begun'), name: z.string() }),
  z.object({ type: z.literal('ended'), name: z.string() }),
  z.object({ type: z.literal('skipped'), name: z.string(), why: z.string() }),
  z.object({ type: z.literal('failed'), name: z.string(), at: z.int(), error: z.string() }),
  /** A diagnostic of a test. */
  z.object({ type: z.literal('said'), message: z.string() }),
]);
export type FileEvent = z.infer<typeof FileEvent>;
