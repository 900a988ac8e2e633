import { defineConfig } from 'drizzle-kit';

/** For `drizzle-kit generate --config db/drizzle.config.ts --name <what-changes>`, run at the root. docs/database.md, "Migrations". */
export default defineConfig({
  dialect: 'postgresql',
  schema: [
    './db/schema.ts',
    './db/trust-schema.ts',
    './db/outbox-schema.ts',
    './db/verdict-schema.ts',
    './db/audit-schema.ts',
    './db/people-schema.ts',
  ],
  out: './db/migrations',
  casing: 'snake_case',
});
