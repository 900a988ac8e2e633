import { eq } from 'drizzle-orm';
import type { SystemScope } from './client.ts';
import { settings } from './schema.ts';
import { found } from './violation.ts';

/** The value of a setting. The first one to give it decides, so that servers that start at once agree. */
export function settle(system: SystemScope, key: string, value: string): Promise<string> {
  return system.run(async (tx) => {
    await tx.insert(settings).values({ key, value }).onConflictDoNothing();
    const [row] = await tx.select().from(settings).where(eq(settings.key, key));
    return found(row, `setting '${key}'`).value;
  });
}

/** The value of a setting, or undefined. */
export async function findSetting(system: SystemScope, key: string): Promise<string | undefined> {
  const [row] = await system.read((tx) => tx.select().from(settings).where(eq(settings.key, key)));
  return row?.value;
}
