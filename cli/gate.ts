import { ChainloopError } from '../core/errors.ts';
import type { Expected, Judgement } from '../core/gate.ts';
import { limits } from '../core/limits.ts';
import type { AttachedImage } from '../core/ports.ts';
import { registryFlags } from './attach.ts';
import { command, text, texts, toggle } from './command.ts';
import { connect } from './connect.ts';
import { type Context, printJson, printTables } from './context.ts';
import { evidenceOrganization, openGateway } from './evidence.ts';
import { type Artifact, readArtifact, type RegistryLogin } from './gate-artifact.ts';
import { contractOf, explainTables, passedTable, type Report, refusal, reportJson } from './gate-report.ts';
import { fromFiles, fromImage, fromPlane, type PlaneSource, type Source } from './gate-sources.ts';
import { pinnedRoot, rootOverConnection, signerPolicy } from './gate-trust.ts';
import { policyFlags } from './policy.ts';

export const gate = command({
  name: 'verify',
  about: 'a release gate: is this artifact attested as it must be?',
  examples: [
    'chainloop verify dist/app --workflow bedrock/release --contract release',
    'chainloop verify ghcr.io/acme/app:v1 --workflow bedrock/release --trust-root root.json --explain',
    'chainloop verify dist/app --bundle app.sigstore.json --trust-root root.json --identity https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1',
    'chainloop verify dist/app --bundle app.sigstore.json --bundle app.vsa.json --vsa --trust-root root.json --workflow bedrock/release --organization acme',
    'chainloop verify sha256:f8a581d4bce57f792444b2230b5706a6f902fbac19a374e76f6a56f030d35cf2 --output json',
  ],
  details: `Looks for the attestations of the artifact at the control plane, and of an image also in its registry; with --bundle in these files
alone, and asks nobody. It passes if one attestation passes every check, and fails closed. --explain shows each check: what was expected, what was
found, and the smallest change that would make it pass. --contract C is the latest revision of C, which only the control plane knows; C@N is that one. Without
--identity or --key the signer is believed that the control plane accepted, or with --vsa vouches for. Exit codes: 0 passed; 3 contract; 4 not to be
trusted, or nothing found; 5 authentication; 75 the control plane or a registry cannot be reached.`,
  flags: {
    workflow: text('<project/name>', 'the workflow that must have made it'),
    contract: text('<name[@revision]>', 'the contract that it must satisfy (default: its latest revision)'),
    vsa: toggle('the control plane must have signed that it passed: a verification summary'),
    verifier: text('<id>', 'who must have signed that: <origin>/verifier (default: of the control plane)'),
    bundle: texts('<path>', 'an attestation, or a verification summary, to verify by without the control plane'),
    online: toggle('with --bundle, ask the control plane for the run, too'),
    offline: toggle('of an image, only what is attached to it in its registry'),
    explain: toggle('show every check, and what would make it pass'),
    ...policyFlags,
    ...registryFlags,
  },
  operands: ['<artifact>'],
  run: async (context, flags, [operand = '']) => {
    const { bundle, offline, explain } = flags;
    if (flags.online && offline) throw usage('--online and --offline exclude each other');
    const workflow = workflowIn(flags.workflow);
    const contract = contractIn(flags.contract);
    const online = flags.online || (!offline && bundle.length === 0);
    if (!online && contract !== undefined && contract.revision === undefined) {
      throw usage(`--contract ${contract.name}: which revision is the latest, only the control plane knows; write ${contract.name}@N`);
    }
    const pinned = await pinnedRoot(context, flags.trustRoot);
    if (!online) assertSaid(flags, { pinned: pinned !== undefined, workflow, organization: (await context.settings()).organization });
    await using stack = new AsyncDisposableStack();
    const plane = online ? await connectPlane(context, stack) : undefined;
    const root = pinned ?? (plane === undefined || (flags.key.length > 0 && !flags.vsa) ? undefined : await rootOverConnection(context, plane.api));
    const policy = await signerPolicy(flags, root);

    const artifact = await readArtifact(context, operand, flags);
    if (!online && bundle.length === 0 && artifact.image === undefined) {
      throw usage('--offline: there is nothing to verify a file or digest by; give its attestation with --bundle FILE');
    }
    const latest = async (name: string) => plane && (await plane.api.contract.describe.query({ name })).latestRevision;
    const revision = contract && (contract.revision ?? (await latest(contract.name)));
    const summary = flags.vsa && root !== undefined ? await expectedSummary(context, flags.verifier, { root: root.root, artifact, online }) : undefined;
    const expected: Expected = {
      artifact,
      platforms: [],
      policy,
      trustRootName: root?.name ?? 'none',
      organization: plane?.organization ?? (await context.settings()).organization,
      workflow,
      contract: contract === undefined || revision === undefined ? undefined : { name: contract.name, revision, latest: contract.revision === undefined },
      online,
      summary,
    };
    const wanted = { ...expected, login: flags, bundles: bundle, plane: plane && fromPlane(plane, artifact.digest, expected) };
    const trust = { policy, trustRoot: root?.root, vouched: flags.vsa, keys: policy === undefined ? ((await wanted.plane?.keys()) ?? []) : [] };
    const found = await judgements(context, artifact, wanted, trust);
    const report: Report = {
      artifact,
      sources: found.sources,
      trustRoot: root === undefined ? { from: 'none', name: 'none' } : { from: root.from, name: root.name },
      ...found,
    };
    if (context.output === 'json') printJson(context, reportJson(report));
    else if (explain) printTables(context, explainTables(report));
    else if (report.code === null) printTables(context, [passedTable(report)]);
    if (report.code !== null) throw refusal(report);
    context.log.info(`Passed! contract ${contractOf(report.judgements[0])} is satisfied`);
  },
});
