import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { materialTypes } from '../core/vocabulary.ts';
import { attachCommand, registryFlags } from './attach.ts';
import { command, count, group, oneOf, pairs, requiredText, text, toggle } from './command.ts';
import { type Context, print, printTables } from './context.ts';
import { controlPlaneOf, evidenceOf, imagesOf, initPortsOf } from './crafting.ts';
import { craftingJson, craftingTables } from './crafting-tables.ts';
import { currentFolder, jobFlags, openJob } from './job.ts';
import { pushCommand } from './push.ts';
import { verify } from './verify.ts';

export const attestation = group('attestation', 'collect evidence, sign and push it; verify it offline', [
  command({
    name: 'init',
    about: 'begin an attestation: get the contract, look around',
    examples: [
      'chainloop attestation init',
      'chainloop attestation init --workflow release --project bedrock --contract-revision 1',
      'chainloop attestation init --dry-run --contract chainloop-contract.yaml',
    ],
    details: `A job of GitHub with the permission 'id-token: write', or of GitLab with CHAINLOOP_ID_TOKEN, needs no token: a binding lets it in. All jobs
of its CI run share one attestation: whichever begins it first, the others join. With CHAINLOOP_TOKEN, of a service account, the workflow is
known, and what is collected is kept outside of the checkout, for this job and folder. A dry run takes the contract from the file, uploads
nothing and pushes nothing; it needs no control plane, unless the contract is in CUE, which the control plane evaluates for operators.`,
    flags: {
      ...jobFlags,
      contractRevision: count('<n>', 'the revision of its contract that you expect (default: the latest)'),
      dryRun: toggle('try it out, offline'),
      contract: text('<path>', 'the contract of a dry run'),
      annotation: pairs('an annotation of the attestation'),
      replace: toggle('end the attestation that is open here, and begin another'),
    },
    run: async (context, flags) => {
      const { workflow, project, contractRevision, dryRun, contract, annotation, replace } = flags;
      if (dryRun !== (contract !== undefined)) throw new ChainloopError('USAGE', '--dry-run and --contract <path> go together');
      const job = await openJob(context, flags, { dryRun });
      const { store } = job;
      const { init, status } = await import('../core/attestation.ts');
      const from =
        contract === undefined
          ? ({ type: 'controlPlane', origin: (await job.context.settings()).url, workflow, project, contractRevision } as const)
          : ({ type: 'dryRun', ...(await contractOfDryRun(context, contract)), workflow, project } as const);
      if (contract === undefined) context.log.info('Retrieving workflow information from the control plane');
      const ports = await initPortsOf(job.context, store);
      const { joined, start } = await init(ports, {
        ...{ from, replace, annotations: annotation },
        ...{ env: context.env, directory: currentFolder() },
      });
      if (joined) context.log.info('The attestation of this CI run has begun already; this job goes on with it');
      for (const [name, value] of Object.entries(annotation)) {
        if (start.annotations[name] !== value)
          context.log.warn(`annotation '${name}' was fixed before; another is taken by attestation push`);
      }
      context.log.info('Attestation initialized! now you can check its status or add materials to it');
      const begun = await status({ store });
      print(context, craftingJson(begun), () => craftingTables(begun, { full: false }));
    },
  }),
  command({
    name: 'add',
    about: 'add a piece of evidence; files are uploaded',
    examples: [
      'chainloop attestation add --name commit --value "$GITHUB_SHA"',
      'chainloop attestation add --name sbom --value sbom.cdx.json --annotation tool=npm',
      'chainloop attestation add --name control-plane-image --value ghcr.io/acme/control-plane:v0.7.6',
      'chainloop attestation add --name control-plane-image --value oci:./image:v0.7.6',
    ],
    details: `The contract says whether the value is a text, a file or an image. The credentials of a registry are those of Docker, unless they
are given; the password is better in CHAINLOOP_REGISTRY_PASSWORD, and the name may be in CHAINLOOP_REGISTRY_USERNAME.`,
    flags: {
      name: requiredText('<name>', 'the material, as in the contract'),
      value: requiredText('<value>', 'a text, a path or an image reference'),
      kind: oneOf('<kind>', materialTypes, 'what you take it for; the contract must agree'),
      annotation: pairs('an annotation of the material'),
      ...registryFlags,
      ...jobFlags,
    },
    run: async (context, { name, value, kind, annotation, registryUsername, registryPassword, ...flags }) => {
      const job = await openJob(context, flags);
      const { env } = context;
      const [{ context: place, organization }, { add, openShared }, { files }] = await Promise.all([
        job.begun(),
        import('../core/attestation.ts'),
        import('../core/adapters/files.ts'),
      ]);
      const ports = {
        ...{ store: job.store, files },
        images: imagesOf(context, { registryUsername, registryPassword }),
        evidence: evidenceOf(place, organization),
        ...(job.shared && { open: async () => openShared(await initPortsOf(place, job.store), { ...flags, env }) }),
      };
      const { material, replaced, recordedBy, summary } = await add(ports, { name, value, kind, annotations: annotation });
      if (replaced) context.log.warn('it takes the place of other content that was added under this name before');
      context.log.info(recordedBy === undefined ? 'material added to attestation' : `already recorded by job ${recordedBy}`);
      const found = Object.entries(summary).map(([name, value]) => `${name.slice(name.lastIndexOf('.') + 1)}=${value}`);
      if (found.length > 0) context.log.info(found.join(' '));
      print(context, { ...material, replaced, recordedBy: recordedBy ?? null, summary }, () => []);
    },
  }),
  command({
    name: 'status',
    about: 'show what there is, and what is still missing',
    examples: ['chainloop attestation status', 'chainloop attestation status --full'],
    flags: { full: toggle('also what was recorded'), ...jobFlags },
    run: async (context, { full, ...flags }) => {
      const { status } = await import('../core/attestation/status.ts');
      const found = await status(await openJob(context, flags));
      if (context.output === 'table') printTables(context, craftingTables(found, { full }));
      else print(context, craftingJson(found), () => []);
      for (const { message } of found.problems) context.log.info(message);
      if (found.sealed) context.log.info('It is signed; send it, the same bytes again, with: chainloop attestation push');
      else if (found.problems.length === 0) {
        const { signing } = found.start.contract;
        const way = signing?.includes('keyless') !== false ? '' : signing.includes('key') ? ' --key FILE' : ' --signing sigstore';
        const state = found.unsigned ? 'It is sealed, and not signed yet' : 'All is there';
        context.log.info(`${state}; send it with: chainloop attestation push${way}`);
      }
    },
  }),
  pushCommand,
  attachCommand,
  command({
    name: 'reset',
    about: 'end the attestation without pushing it',
    examples: ['chainloop attestation reset', 'chainloop attestation reset --trigger failed --reason "the build failed"'],
    details: `The control plane keeps what was added, by its digest: chainloop verify and chainloop discover then say which run it is of, and how that one ended.`,
    flags: {
      trigger: oneOf('<state>', ['cancelled', 'failed'], 'how the run ended, by default the first'),
      reason: text('<text>', 'why, for who looks at the run'),
      ...jobFlags,
    },
    run: async (context, { trigger = 'cancelled', reason = '', ...flags }) => {
      const job = await openJob(context, flags);
      const { reset } = await import('../core/attestation.ts');
      const place = await job.begun().catch((error: unknown) => {
        if (isChainloopError(error, 'USAGE')) throw error;
        // What cannot be read does not say where it was begun.
        return job;
      });
      const {
        runId,
        ended,
        unreadable = false,
      } = await reset({ store: job.store, controlPlane: controlPlaneOf(place.context) }, { state: trigger, reason });
      if (ended) context.log.info(`Attestation ended: ${trigger}`);
      else if (unreadable)
        context.log.warn('Attestation forgotten here; what was kept of it could not be read, so its run stays open until it expires');
      else context.log.info('Attestation forgotten here; its run was over already');
      print(context, { runId: runId ?? null, state: ended ? trigger : null }, () => []);
    },
  }),
  verify,
]);

async function contractOfDryRun(context: Context, path: string) {
  const [{ readContract, withFile }, { Contract, parseContract }] = await Promise.all([
    import('./contract.ts'),
    import('../core/contract.ts'),
  ]);
  const { format, body } = await readContract(path);
  if (format !== 'cue') {
    const { name, contract } = await withFile(path, (async () => parseContract(body, format))());
    return { contract, contractName: name };
  }
  // CUE is a language of the control plane alone: its evaluator would be most of this program.
  const { connect } = await import('./connect.ts');
  try {
    const answer = await withFile(path, (await connect(context)).contract.validate.query({ format, body }));
    return { contract: Contract.parse(answer.contract) };
  } catch (error) {
    if (!isChainloopError(error) || error.code === 'CONTRACT_INVALID') throw error;
    const advice = 'the control plane evaluates CUE, for operators; for a dry run anywhere make it YAML: cue export --out yaml';
    throw new ChainloopError(error.code, `${path}: ${error.message}; ${advice}`, { problems: error.problems, cause: error });
  }
}
