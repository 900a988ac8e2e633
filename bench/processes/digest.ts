import { files } from '../../core/adapters/files.ts';

// `digest FILE`: prints its digest.
await using file = await files.open(process.argv[2] ?? '');
process.stdout.write(`${await file.digest()}\n`);
