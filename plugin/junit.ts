import type { ContractMaterial } from '../core/contract.ts';
import { materialValue } from '../core/crafting.ts';
import { withoutSecrets } from '../core/redact.ts';
import { contractLabel, jobText, missing, type Outcome } from './outcome.ts';
import { messageOf, titleOf } from './words.ts';

type Case = {
  readonly name: string;
  /** Without a result it passed. `failure`: the evidence is not right; `error`: something else kept it from being attested. */
  readonly result?: { readonly type: 'failure' | 'error' | 'skipped'; readonly message: string; readonly details?: string } | undefined;
  readonly output?: string | undefined;
};

/**
 * The outcome as a test report in the XML of JUnit, as GitLab shows it in a merge request: one test case for each material of the contract, and
 * one for the attestation itself.
 */
export function junitOf(outcome: Outcome): string {
  const { crafting } = outcome.found;
  const label = crafting === undefined ? 'attestation' : contractLabel(crafting);
  const cases = [...(crafting?.start.contract.materials ?? []).map((material) => materialCase(outcome, material)), wholeCase(outcome)];
  const count = (type: string): number => cases.filter(({ result }) => result?.type === type).length;
  const counts = `tests="${cases.length}" failures="${count('failure')}" errors="${count('error')}" skipped="${count('skipped')}"`;
  const lines = cases.map((one) => `    ${caseText(one, label)}`);
  return `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="Chainloop" ${counts}>
  <testsuite name="${xml(`Chainloop ${label}`)}" ${counts}>
${lines.join('\n')}
  </testsuite>
</testsuites>
`;
}

function materialCase({ status, found }: Outcome, { name, type }: ContractMaterial): Case {
  const { crafting } = found;
  const wrong = found.wrong.get(name);
  if (wrong !== undefined) return { name, result: { type: 'failure', message: wrong } };
  const material = crafting?.materials.find((candidate) => candidate.name === name);
  if (material !== undefined) {
    const job = found.jobs.get(name);
    return { name, output: `${materialValue(material)}${job === undefined ? '' : `, by ${jobText(job)}`}` };
  }
  const skipped = (message: string): Case => ({ name, result: { type: 'skipped', message } });
  if (found.given.includes(name)) return skipped('given, not recorded');
  const required = crafting !== undefined && missing(crafting).some((wanted) => wanted.name === name);
  if (!required) return skipped('not there');
  if (status !== 'violations') return skipped('not there yet');
  return { name, result: { type: 'failure', message: `missing: ${name} (${type})` } };
}

/** What is of no single material: that it was attested, or why not. */
function wholeCase({ status, error, reason, found }: Outcome): Case {
  const name = 'attestation';
  switch (status) {
    case 'passed':
    case 'open':
      return { name, output: found.digest };
    case 'skipped':
    case 'dry-run':
    case 'cancelled':
      return { name, result: { type: 'skipped', message: reason ?? status } };
    case 'deferred':
      return { name, result: { type: 'skipped', message: `nothing is recorded: ${error?.message ?? 'deferred'}` } };
    case 'violations':
    case 'failed': {
      const message =
        error === undefined ? status : titleOf(error, found.crafting === undefined ? undefined : contractLabel(found.crafting));
      const details = error === undefined ? '' : messageOf(error, found);
      return { name, result: { type: status === 'violations' ? 'failure' : 'error', message, details } };
    }
  }
}

function caseText({ name, result, output }: Case, label: string): string {
  const start = `<testcase classname="${xml(label)}" name="${xml(name)}"`;
  if (result === undefined) return output === undefined ? `${start}/>` : `${start}><system-out>${xml(output)}</system-out></testcase>`;
  const { type, message, details = message } = result;
  return `${start}><${type} message="${xml(message)}">${xml(details)}</${type}></testcase>`;
}

/** XML 1.0, "Characters": what is none of them cannot even be written as a reference. */
const noCharacter = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;

function xml(text: string): string {
  return withoutSecrets(text)
    .replace(noCharacter, '\ufffd')
    .replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`)
    .replace(/[\n\r\t]/g, (character) => `&#${character.charCodeAt(0)};`);
}
