import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { files } from '../core/adapters/files.ts';
import { isPattern } from '../core/adapters/paths.ts';
import { Contract } from '../core/contract.ts';
import type { CraftedMaterial, Crafting } from '../core/crafting.ts';
import { isChainloopError } from '../core/errors.ts';
import type { MaterialLine } from '../core/material-lines.ts';
import type { MaterialType } from '../core/names.ts';
import { parseReference, type Reference } from '../core/reference.ts';
import { detectRunner, type Env } from '../core/runner.ts';
import { understand } from './evidence.ts';
import { directoryOf, type Inputs } from './inputs.ts';
import { group, say } from './log.ts';
import type { Found } from './outcome.ts';
import { repositoryName, workflowFileName } from './session.ts';

/**
 * What a step would attest, found out without the control plane or a registry: files are there, of their kind, and measured. No contract is
 * consulted, so the kind of a line without one is guessed by its value: a file, an image with its digest, else a text.
 */
export async function dryRun(inputs: Inputs, env: Env, found: Found): Promise<void> {
  const directory = directoryOf(env);
  const guessed = inputs.materials.map((line) => ({ line, type: kindOf(line, directory) }));
  const contract = Contract.parse({ materials: guessed.map(({ line, type }) => ({ name: line.name, type, output: type !== 'STRING' })) });
  const start: Crafting['start'] = {
    version: 1,
    identity: {
      organization: inputs.organization ?? '',
      project: inputs.project ?? repositoryName(env) ?? '',
      team: '',
      workflowId: '',
      workflowName: inputs.workflow ?? workflowFileName(env) ?? '',
      runId: '',
      contractName: '',
      contractRevision: 0,
    },
    contract,
    runner: detectRunner(env),
    env: {},
    initializedAt: new Date().toISOString(),
    dryRun: true,
    controlPlane: '',
    annotations: inputs.annotations,
  };
  const images = {
    async resolve(text: string) {
      const { registry, repository, digest } = parseReference(text);
      if (digest === undefined) throw new Error(`${text} was taken for an image with a digest`);
      return { repository: `${registry}/${repository}`, digest, mediaType: '' };
    },
  };
  await group(`Materials (${inputs.materials.length})`, async () => {
    const { evidence } = await understand({ files, images, directory }, contract, inputs.materials);
    const materials: CraftedMaterial[] = [];
    for (const { wanted, source, value } of evidence) {
      const material = { name: wanted.name, type: wanted.type, uploaded: false, annotations: {} };
      switch (source) {
        case 'text':
          materials.push({ ...material, value });
          break;
        case 'image': {
          const { repository, digest } = await images.resolve(value);
          materials.push({ ...material, digest, fileName: repository });
          break;
        }
        case 'file': {
          await using file = await files.open(resolve(directory, value));
          materials.push({ ...material, digest: await file.digest(), fileName: file.fileName, sizeBytes: file.sizeBytes });
        }
      }
      found.paths.set(wanted.name, value);
    }
    for (const { name, digest, value } of materials) say(`${name}: ${digest ?? value}`);
    found.crafting = { start, materials };
  });
}

function kindOf({ kind, value, excludes }: MaterialLine, directory: string): MaterialType {
  const image = referenceOf(value);
  // Without its digest an image would have to be asked for.
  if (kind === 'CONTAINER_IMAGE') return image?.digest === undefined ? 'STRING' : kind;
  if (kind !== undefined) return kind;
  const path = resolve(directory, value);
  const inFolder = value.includes('/') && existsSync(dirname(path));
  if (existsSync(path) || excludes.length > 0 || value.startsWith('./') || inFolder || (isPattern(value) && value.includes('/')))
    return 'ARTIFACT';
  return image?.digest === undefined ? 'STRING' : 'CONTAINER_IMAGE';
}

function referenceOf(text: string): Reference | undefined {
  try {
    return parseReference(text);
  } catch (error) {
    if (isChainloopError(error)) return undefined;
    throw error;
  }
}
