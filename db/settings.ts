import { eq, sql } from 'drizzle-orm';
import type { SystemScope } from './client.ts';
import { settings } from './schema.ts';
import { found } from './violation.ts';

/** What tells this control plane from others: a UUID, made at its first start, also on a restored database. */
export const instanceSetting = 'instance';

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

/** The settings whose keys begin with `prefix`, in no order. */
export function settingsUnder(system: SystemScope, prefix: string): Promise<{ readonly key: string; readonly value: string }[]> {
  return system.read((tx) =>
    tx.select({ key: settings.key, value: settings.value }).from(settings).where(sql`starts_with(${settings.key}, ${prefix})`),
  );
}
