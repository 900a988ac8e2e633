import { step } from './step.ts';

await step();
