/**
 * Milliseconds of the processor that this thread took for the work. Limits on these hold on a busy machine too, where a clock on the wall
 * says how long others had their turn.
 */
export async function busyMs(work: () => unknown): Promise<number> {
  const before = process.threadCpuUsage();
  await work();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}
