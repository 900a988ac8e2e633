import type { Inputs } from '../plugin/inputs.ts';
import type { Found, Status } from '../plugin/outcome.ts';
import * as plugin from '../plugin/perform.ts';
import { github } from './platform.ts';
import { saved } from './state.ts';

// What a step needs that has something to do, at either end. One file, loaded by who gets that far.

export { endRun } from '../plugin/end-run.ts';
export { github } from './platform.ts';

/** Does what the step is asked to do, as the job that GitHub says it is. */
export const attested = (inputs: Inputs, found: Found): Promise<Status> => plugin.attested(inputs, github(), saved, found);

/** Finds out what the step would attest, and asks nobody. */
export const tried = (inputs: Inputs, found: Found): Promise<void> => plugin.tried(inputs, github(), found);
