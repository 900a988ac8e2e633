import * as core from '@actions/core';
import { finish } from './finish.ts';
import { step } from './step.ts';

/** Both ends of a step are one program: so that what they share is one file, and a start opens few of them. */
export async function run(stage: 'main' | 'post'): Promise<void> {
  if (stage === 'main') await step();
  else await finish(core.getInput('job-status'));
}
