import { main } from '../main.ts';
import { version } from '../release.ts';

// The program of the package for CI jobs, which is one file: what bin/chainloop.js is in a checkout.

const words = process.argv.slice(2);
if (words.length === 1 && words[0] === '--version') process.stdout.write(`${version}\n`);
else process.exitCode = await main(words);
