import * as core from '@actions/core';
import { finish } from './finish.ts';

await finish(core.getInput('job-status'));
