/** Writes docs/contract.schema.json, for editors, from the schema in the code. A test compares the two. */
import { writeFileSync } from 'node:fs';
import { contractJsonSchema } from '../core/contract.ts';

writeFileSync(new URL('../docs/contract.schema.json', import.meta.url), `${JSON.stringify(contractJsonSchema(), null, 2)}\n`);
