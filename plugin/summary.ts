import type { CraftedMaterial, Crafting } from '../core/crafting.ts';
import { code, document, escaped, shortDigest, table } from './markdown.ts';
import { contractLabel, jobText, missing, type Outcome, subjects } from './outcome.ts';
import { inputTerms, lacking, otherProblems, problemLine } from './words.ts';

/** Whether the bundle outlives the job. */
export type SummaryOptions = { readonly bundleLasts: boolean };

/** What a page shows of a step, in Markdown. Everything that somebody else wrote is text in it. */
export function summaryOf(outcome: Outcome, url: string | undefined, options: SummaryOptions): string {
  return document([`### ${heading(outcome)}`, ...body(outcome, url, options)].filter((section) => section !== ''));
}

function heading({ status, command, found }: Outcome): string {
  const name = found.crafting?.start.identity.workflowName;
  const title = `Chainloop attestation${name === undefined || name === '' ? '' : `: ${escaped(name)}`}`;
  switch (status) {
    case 'passed':
      return `✅ ${title}, passed`;
    case 'violations':
      return `❌ ${title}, contract not satisfied`;
    case 'failed':
      return `❌ ${title}, FAILED`;
    case 'deferred':
      return `⚠️ ${title}, DEFERRED: nothing is recorded`;
    case 'skipped':
      return `⏭️ ${title}, skipped`;
    case 'dry-run':
      return `🧪 ${title}, dry run`;
    case 'cancelled':
      return `⏹️ ${title}, cancelled`;
    case 'open':
      return `⏳ ${title}, ${command === 'add' ? 'materials added' : 'open'}`;
  }
}

function body(outcome: Outcome, url: string | undefined, { bundleLasts }: SummaryOptions): readonly string[] {
  const { status, found, error, reason } = outcome;
  const { crafting } = found;
  switch (status) {
    case 'passed':
      return crafting === undefined
        ? []
        : [materialsTable(outcome, crafting), satisfied(outcome, crafting, url), attachedTo(outcome), verification(outcome, crafting)];
    case 'violations':
    case 'failed':
      return [
        crafting === undefined ? '' : checklist(outcome, crafting),
        error === undefined ? '' : problems(outcome),
        crafting === undefined ? '' : remedy(outcome, crafting),
        consequence(outcome, bundleLasts),
      ];
    case 'deferred':
      return [
        error === undefined ? '' : escaped(inputTerms(error.message), 2000),
        `**The control plane has no attestation of this job.** Run the job again when it is back${found.bundlePath === undefined || bundleLasts ? '' : '; the signed bundle is kept until the job ends, upload it to keep it longer'}.`,
      ];
    case 'skipped':
      return [`${escaped(reason ?? '', 500)}, so nothing is attested. Set <code>fork-pr</code> to change that.`];
    case 'dry-run':
      return [
        ...(reason === undefined ? [] : [escaped(reason, 500)]),
        crafting === undefined ? '' : materialsTable(outcome, crafting),
        'Nothing was sent, and no contract was consulted.',
      ];
    case 'open':
      return crafting === undefined ? [] : [checklist(outcome, crafting), link(url)];
    case 'cancelled':
      return ['The run was ended for all jobs of this CI run.'];
  }
}

function materialsTable({ found }: Outcome, crafting: Crafting): string {
  const outputs = new Set(subjects(crafting).map(({ name }) => name));
  const there = new Map(crafting.materials.map((material) => [material.name, material]));
  const rows = crafting.start.contract.materials.flatMap(({ name }) => {
    const material = there.get(name);
    if (material === undefined) return [];
    return [[escaped(name), material.type, shownValue(material, found.summaries.get(name)), outputs.has(name) ? 'yes' : '']];
  });
  return table(['Material', 'Kind', 'Value', 'Subject'], rows);
}

function shownValue(
  { digest, value, fileName, sizeBytes, tag, type }: CraftedMaterial,
  summary: Readonly<Record<string, string>> = {},
): string {
  if (digest === undefined) return code(value ?? '', 100);
  if (type === 'CONTAINER_IMAGE') return code(`${fileName}${tag === undefined ? '' : `:${tag}`}@${shortDigest(digest)}`, 300);
  const components = summary['chainloop.material.sbom.components'];
  const size = sizeBytes === undefined ? '' : ` (${sizeText(sizeBytes)})`;
  return `${code(fileName ?? '')} ${code(shortDigest(digest))}${size}${components === undefined ? '' : `, ${escaped(components)}&nbsp;component${components === '1' ? '' : 's'}`}`;
}

function sizeText(sizeBytes: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB'];
  const step = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, sizeBytes)) / 3));
  return `${step === 0 ? sizeBytes : (sizeBytes / 1000 ** step).toFixed(1)}&nbsp;${units[step]}`;
}

function satisfied({ found }: Outcome, crafting: Crafting, url: string | undefined): string {
  const { identity, contract } = crafting.start;
  const revision = identity.contractRevision === 0 ? '' : ` revision ${identity.contractRevision}`;
  const signer =
    found.signer === undefined ? '' : ` Signed ${found.signer.startsWith('key ') ? 'with' : 'keyless by'} ${code(found.signer, 500)}.`;
  const count = `${crafting.materials.length} of ${contract.materials.length}`;
  return [`Contract ${code(identity.contractName)}${revision} satisfied, ${count} materials.${signer}`, link(url)].join(' ');
}

/** Where others find it: the images that it is on, and those that it should be on. */
function attachedTo({ error, found }: Outcome): string {
  const lines = (found.attachments ?? []).map(({ image, error: failure }) =>
    failure === undefined
      ? `- attached to ${code(image, 500)}`
      : `- ⚠️ not attached to ${code(image, 500)}: ${escaped(inputTerms(failure.message), 1000)}`,
  );
  return [...lines, ...(error === undefined ? [] : ['', escaped(inputTerms(error.message), 1000)])].join('\n');
}

function link(url: string | undefined): string {
  return url === undefined
    ? ''
    : `[Open attestation](${encodeURI(url).replaceAll(/[()]/g, (character) => (character === '(' ? '%28' : '%29'))})`;
}

/** How anybody checks it, with the paths and names of this run. */
function verification({ found }: Outcome, crafting: Crafting): string {
  const { runId } = crafting.start.identity;
  const artifact = subjects(crafting).flatMap(({ name }) => found.paths.get(name) ?? [])[0];
  const file = artifact !== undefined && /^[\w./@+-]+$/.test(artifact) ? artifact : '<artifact>';
  const { signer, repository = '' } = found;
  const plain = (text: string): boolean => /^[\x21-\x26\x28-\x7e]+$/.test(text);
  const keyless = signer !== undefined && !signer.startsWith('key ') && plain(signer);
  // One option on a line: a long line would have to be scrolled.
  const commands = [
    ...['chainloop workflow run describe \\', `  --id ${runId} \\`, '  --output attestation > attestation.sigstore.json'],
    ...(keyless ? ['chainloop trust-root export --output trusted-root.json'] : []),
    ...['chainloop attestation verify \\', '  --bundle attestation.sigstore.json \\'],
    ...(keyless
      ? [
          '  --trust-root trusted-root.json \\',
          `  --identity '${signer}' \\`,
          ...(plain(repository) ? [`  --source-repository '${repository}' \\`] : []),
        ]
      : ['  --key <public key> \\']),
    `  ${file}`,
  ];
  return ['<details><summary>Verify</summary>', '', '```bash', ...commands, '```', '', '</details>'].join('\n');
}

function checklist({ found, error }: Outcome, crafting: Crafting): string {
  const asked = lacking(error, found).length > 0;
  const there = new Map(crafting.materials.map((material) => [material.name, material]));
  const absent = new Set(missing(crafting).map(({ name }) => name));
  const rows = crafting.start.contract.materials.map(({ name, optional, group }) => {
    const material = there.get(name);
    const wrong = found.wrong.get(name);
    const state =
      wrong !== undefined
        ? `⚠️ ${escaped(wrong.replaceAll(/sha256:[0-9a-f]{64}/g, shortDigest), 500)}`
        : material !== undefined
          ? `✅ ${material.digest === undefined ? code(material.value ?? '', 60) : code(shortDigest(material.digest))}`
          : absent.has(name)
            ? found.given.includes(name)
              ? 'given, not recorded'
              : asked
                ? '❌ missing'
                : 'not there yet'
            : 'not there';
    const job = found.jobs.get(name);
    return [
      escaped(name),
      group === undefined ? (optional ? 'no' : 'yes') : `one of ${escaped(group)}`,
      `${state}${job === undefined || wrong !== undefined ? '' : `, by ${escaped(jobText(job))}`}`,
    ];
  });
  return table(['Material', 'Required', 'State'], rows);
}

function problems({ error, found }: Outcome): string {
  if (error === undefined) return '';
  // What stands in the table need not be said again.
  const others = otherProblems(error, found).filter(({ path }) => path === undefined || !found.wrong.has(path));
  const lines = inputTerms(error.message).split('\n');
  const yaml = lines.indexOf('') === -1 ? [] : lines.slice(lines.indexOf('') + 1);
  const said = lines.slice(0, lines.length - (yaml.length === 0 ? 0 : yaml.length + 1)).join(' ');
  const block = yaml.length === 0 ? [] : ['', '```yaml', ...yaml, '```'];
  if (error.code === 'CONTRACT_NOT_SATISFIED' && (others.length > 0 || lacking(error, found).length > 0))
    return others.map((problem) => `- ${escaped(problemLine(problem), 1000)}`).join('\n');
  if (error.code === 'NO_BINDING' && others.length > 0) {
    return [
      escaped(said, 2000),
      '',
      table(
        ['Claim', 'Expected and found'],
        others.map(({ path, message }) => [code(path ?? ''), escaped(message, 1000)]),
      ),
    ].join('\n');
  }
  return [escaped(said, 2000), ...others.map((problem) => `- ${escaped(problemLine(problem), 1000)}`), ...block].join('\n');
}

/** The lines that are missing in the step, to be pasted. */
function remedy({ command, error, found }: Outcome, crafting: Crafting): string {
  const absent = lacking(error, found).filter(({ name }) => !found.wrong.has(name));
  if (absent.length === 0) return '';
  const lines = absent.map(({ name, type }) => `${name}=<${placeholder(type)}>`);
  const label = `Contract ${code(contractLabel(crafting))}`;
  const step = command === 'attest' ? 'the step' : 'a step with <code>command: add</code>';
  return [`${label} asks for more. Add to <code>materials</code> of ${step}:`, '', '```', ...lines, '```'].join('\n');
}

function placeholder(type: string): string {
  switch (type) {
    case 'STRING':
      return 'text';
    case 'CONTAINER_IMAGE':
      return 'image reference';
    case 'SBOM_CYCLONEDX_JSON':
      return 'path to CycloneDX JSON';
    case 'SBOM_SPDX_JSON':
      return 'path to SPDX JSON';
    default:
      return 'path';
  }
}

function consequence({ command, error, found }: Outcome, bundleLasts: boolean): string {
  if (found.crafting === undefined || found.crafting.start.identity.runId === '')
    return /nothing was (?:uploaded|sent)/.test(error?.message ?? '') ? '' : 'Nothing was pushed.';
  const bundle =
    found.bundlePath === undefined
      ? ''
      : ` The signed bundle is at ${code(found.bundlePath, 500)}${bundleLasts ? '' : ' until the job ends'}.`;
  const run = `run ${code(found.crafting.start.identity.runId)}`;
  if (error?.code === 'RUN_ALREADY_FINISHED' || error?.code === 'RUN_EXPIRED') return `Nothing was pushed; ${run} is over.${bundle}`;
  if (command === 'attest') return `Nothing was pushed; ${run} is recorded as *failed* when the job ends.${bundle}`;
  if (command === 'init') return `Nothing was pushed; ${run} is recorded as *failed* if this fails the job, and stays open otherwise.`;
  return `Nothing was pushed; ${run} stays open, and re-running this job goes on with it.${bundle}`;
}
