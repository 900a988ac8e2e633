import { action } from './action.ts';
import { api } from './api.ts';
import type { Group } from './context.ts';
import { digest } from './digest.ts';
import { journey } from './journey.ts';
import { lists } from './lists.ts';
import { packed } from './package.ts';
import { push } from './push.ts';
import { registry } from './registry.ts';
import { scrape } from './scrape.ts';
import { small } from './small.ts';
import { start } from './start.ts';
import { upload } from './upload.ts';
import { verify } from './verify.ts';

/** What is measured, in the order of docs/performance.md. A word of the command line is a name or a goal. */
export const groups: readonly { readonly name: string; readonly goals: readonly string[]; readonly about: string; readonly rows: Group }[] =
  [
    { name: 'start', goals: ['G8'], about: 'Start of the command line', rows: start },
    { name: 'package', goals: [], about: 'The package for CI jobs', rows: packed },
    { name: 'action', goals: ['G9'], about: 'The GitHub Action', rows: action },
    { name: 'digest', goals: ['G1'], about: 'A large file', rows: digest },
    { name: 'small', goals: ['G2'], about: 'Many small files', rows: small },
    { name: 'upload', goals: ['G3', 'G6', 'G7'], about: 'Bytes, from a file to storage and back', rows: upload },
    { name: 'registry', goals: ['G4', 'G5'], about: 'Bytes, to a registry', rows: registry },
    { name: 'journey', goals: [], about: 'An attestation from end to end', rows: journey },
    { name: 'verify', goals: ['G15'], about: 'Verification', rows: verify },
    { name: 'push', goals: ['G10'], about: 'Recording a run', rows: push },
    { name: 'lists', goals: ['G11', 'G12', 'G13'], about: 'Asking, when there is much', rows: lists },
    { name: 'api', goals: ['G14'], about: 'The API', rows: api },
    { name: 'scrape', goals: [], about: 'Metrics', rows: scrape },
  ];
