import type { Api } from '../client/api.ts';
import type { RegistryClient } from '../core/adapters/oci/client.ts';
import { ChainloopError } from '../core/errors.ts';
import type { Expected } from '../core/gate.ts';
import { registryFlags } from './attach.ts';
import { command, text, texts, toggle } from './command.ts';
import { connect } from './connect.ts';
import { type Context, printJson, printTables } from './context.ts';
import { evidenceOrganization, openGateway } from './evidence.ts';
import { readArtifact } from './gate-artifact.ts';
import { contractOf, explainTables, passedTable, type Report, refusal, reportJson } from './gate-report.ts';
import { runGate } from './gate-run.ts';
import { fromPlane } from './gate-sources.ts';
import { pinnedRoots, rootOverConnection, signerPolicy, type TrustedRoot } from './gate-trust.ts';
import { policyFlags } from './policy.ts';

export const gate = command({
  name: 'verify',
  about: 'a release gate: is this artifact attested as it must be?',
  examples: [
    'chainloop verify dist/app --workflow bedrock/release --contract release',
    'chainloop verify ghcr.io/acme/app:v1 --workflow bedrock/release --trust-root root.json --explain',
    'chainloop verify dist/app --bundle app.sigstore.json --trust-root root.json --identity https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1',
    'chainloop verify dist/app --bundle app.sigstore.json --bundle app.vsa.json --vsa --trust-root root.json --workflow bedrock/release --organization acme',
    'chainloop verify dist/app --workflow bedrock/release --vsa --trust-root root.json --trust-root sigstore.json',
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
    trustRoot: texts('<path>', 'the authorities that you trust: first of the control plane, then of a Sigstore that certifies signers'),
    ...registryFlags,
  },
  operands: ['<artifact>'],
  run: async (context, flags, [operand = '']) => {
    const { bundle: bundles, explain } = flags;
    const asked = askedOf(flags);
    const { workflow, contract, online } = asked;
    const [pinned, ...others] = await pinnedRoots(context, flags);
    const { organization: chosen } = await context.settings();
    if (!online) assertJudgeable(flags, asked, { pinned, organization: chosen });
    await using stack = new AsyncDisposableStack();
    const connection = online ? await connectPlane(context, stack) : undefined;
    // Keys need no authorities; a verification summary is always by one.
    const needsRoot = flags.key.length === 0 || flags.vsa;
    const root = pinned ?? (connection && needsRoot ? await rootOverConnection(context, connection.api) : undefined);
    const rootNames = root === undefined ? 'none' : [root, ...others].map(({ name }) => name).join(', ');
    const policy = await signerPolicy(flags, root);
    const artifact = await readArtifact(context, operand, flags);
    if (!online && bundles.length === 0 && artifact.image === undefined) {
      throw usage('--offline: there is nothing to verify a file or digest by; give its attestation with --bundle FILE');
    }

    const expected: Expected = {
      ...{ artifact, platforms: [], policy, workflow, online },
      trustRootName: rootNames,
      organization: connection?.organization ?? chosen,
      contract: contract && { ...contract, ...(await revisionOf(contract, connection?.api)) },
      summary: flags.vsa ? await expectedSummary(context, flags.verifier, { root, artifact }) : undefined,
    };
    const plane = connection && fromPlane(connection, artifact.digest, expected);
    const keys = policy === undefined ? ((await plane?.keys()) ?? []) : [];
    const trust = { policy, trustRoot: root?.root, otherRoots: others.map((other) => other.root), vouched: flags.vsa, keys };
    const report: Report = {
      artifact,
      trustRoot: { from: root?.from ?? 'none', name: rootNames },
      ...(await runGate(context, { places: { bundles, plane, login: flags }, expected, trust }, artifact)),
    };

    if (context.output === 'json') printJson(context, reportJson(report));
    else if (explain) printTables(context, explainTables(report));
    else if (report.code === null) printTables(context, [passedTable(report)]);
    if (report.code !== null) throw refusal(report);
    context.log.info(`Passed! ${artifact.name} satisfies contract ${contractOf(report.judgements[0])}`);
  },
});

/** What the options ask for. `revision`: of no other than this one. */
type Asked = {
  readonly workflow: Expected['workflow'];
  readonly contract: { readonly name: string; readonly revision: number | undefined } | undefined;
  readonly online: boolean;
};
type AskedFlags = {
  readonly workflow: string | undefined;
  readonly contract: string | undefined;
  readonly bundle: readonly string[];
  readonly online: boolean;
  readonly offline: boolean;
  readonly vsa: boolean;
  readonly verifier: string | undefined;
};

function askedOf({ workflow, contract, bundle, online, offline, vsa, verifier }: AskedFlags): Asked {
  const [, project, name, more] = /^([^/]+)\/([^/]+)(.*)$/.exec(workflow ?? '') ?? [];
  if (workflow !== undefined && (project === undefined || name === undefined || more !== '')) {
    throw usage(`--workflow: '${workflow}' is not PROJECT/NAME, such as bedrock/release`);
  }
  const [, contractName, revision] = /^([^@]+)(?:@([1-9]\d{0,8}))?$/.exec(contract ?? '') ?? [];
  if (contract !== undefined && contractName === undefined)
    throw usage(`--contract: '${contract}' is not NAME or NAME@REVISION, such as release@3`);
  if (online && offline) throw usage('--online and --offline exclude each other');
  if (verifier !== undefined && !vsa) throw usage('--verifier is who must have signed a verification summary: give --vsa, too');
  return {
    online: online || (!offline && bundle.length === 0),
    workflow: project === undefined || name === undefined ? undefined : { project, name },
    contract:
      contractName === undefined ? undefined : { name: contractName, revision: revision === undefined ? undefined : Number(revision) },
  };
}

/** Without the control plane, the user has to say what it would. USAGE. */
function assertJudgeable(
  {
    identity,
    identityPrefix,
    key,
    vsa,
  }: AskedFlags & { identity: string | undefined; identityPrefix: string | undefined; key: readonly string[] },
  { workflow, contract }: Asked,
  { pinned, organization }: { readonly pinned: TrustedRoot | undefined; readonly organization: string | undefined },
): void {
  const named = identity !== undefined || identityPrefix !== undefined || key.length > 0;
  if (!named && !vsa) {
    throw usage(
      'say who must have signed: --identity <id> or --identity-prefix <prefix> with --trust-root <path>, or --key <path>; or that the control plane must vouch for it: --vsa',
    );
  }
  if (pinned === undefined && (vsa || key.length === 0)) {
    throw usage('--trust-root <path> is missing: whose certificates are believed; get it with: chainloop trust-root export --output FILE');
  }
  if (!named && (workflow === undefined || organization === undefined)) {
    throw usage(
      '--vsa without --identity vouches for every workflow of the control plane; say which: --organization <name> --workflow <project/name>',
    );
  }
  if (contract !== undefined && contract.revision === undefined) {
    throw usage(
      `--contract ${contract.name}: which revision is the latest, only the control plane knows; write ${contract.name}@<revision>`,
    );
  }
}

type Connection = { readonly api: Api; readonly gateway: RegistryClient; readonly organization: string };

async function connectPlane(context: Context, stack: AsyncDisposableStack): Promise<Connection> {
  const api = await connect(context);
  const organization = await evidenceOrganization(context);
  const gateway = stack.adopt(await openGateway(context, organization), (client) => client.close());
  return { api, gateway, organization };
}

async function revisionOf(
  { name, revision }: NonNullable<Asked['contract']>,
  api: Api | undefined,
): Promise<{ readonly revision: number; readonly latest: boolean }> {
  if (revision !== undefined) return { revision, latest: false };
  if (api === undefined) throw new Error('the latest revision was asked for without a control plane');
  return { revision: (await api.contract.describe.query({ name })).latestRevision, latest: true };
}

async function expectedSummary(
  context: Context,
  verifier: string | undefined,
  { root, artifact }: { readonly root: TrustedRoot | undefined; readonly artifact: Expected['artifact'] },
): Promise<NonNullable<Expected['summary']>> {
  if (root === undefined) throw new Error('a verification summary was asked for, and there is no trusted root');
  const [{ verifierOf }, { originOf }, { url }] = await Promise.all([
    import('../core/verdict.ts'),
    import('./settings.ts'),
    context.settings(),
  ]);
  const origin = verifier === undefined ? url : originOf(verifier.replace(/\/verifier$/, ''));
  if (verifier !== undefined && verifier !== verifierOf(origin)) throw usage(`--verifier: '${verifier}' is not <origin>/verifier`);
  return { origin, trustRoot: root.root, artifact: artifact.digest, summaries: [] };
}

function usage(message: string): ChainloopError {
  return new ChainloopError('USAGE', message);
}
