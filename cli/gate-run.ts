import type { BundleFinder } from '../core/adapters/oci/bundle-finder.ts';
import { type ChainloopError, isChainloopError } from '../core/errors.ts';
import { type Expected, factsOf, type Judgement, judge, neverAttested, nothingFound, ranked, type Trust } from '../core/gate.ts';
import { limits } from '../core/limits.ts';
import type { Context } from './context.ts';
import { patienceOf } from './crafting.ts';
import type { Artifact, RegistryLogin } from './gate-artifact.ts';
import type { Report } from './gate-report.ts';
import { fromFiles, fromImage, type PlaneSource, type Source } from './gate-sources.ts';

/** Where attestations are looked for: in these files alone, if there are any; else at the control plane, and with the image. */
export type Places = {
  readonly bundles: readonly string[];
  readonly plane: PlaneSource | undefined;
  readonly login: RegistryLogin;
};

/** Judges what is found, until something passes. Throws what keeps it from looking: that is no verdict. */
export async function runGate(
  context: Context,
  { places, expected, trust }: { readonly places: Places; readonly expected: Expected; readonly trust: Trust },
  artifact: Artifact,
): Promise<Pick<Report, 'sources' | 'code' | 'checks' | 'judgements'>> {
  const { plane, bundles } = places;
  const finder = artifact.image === undefined || bundles.length > 0 ? undefined : await openFinder(context, places.login);
  const judged: Judgement[] = [];
  const sources: Source[] = [];
  for await (const source of sourcesOf(places, artifact, finder)) {
    if (isChainloopError(source)) {
      if (judged.length === 0) throw source;
      context.log.warn(`${source.message}; what is attached to the image was not looked at`);
      continue;
    }
    sources.push(source);
    for await (const candidate of source.candidates()) {
      if (judged.length >= limits.gateCandidates) {
        context.log.warn(
          `there are more attestations than the ${limits.gateCandidates} that were judged; say which: --workflow, --contract`,
        );
        break;
      }
      const record = candidate.record ?? (await plane?.recordOf(candidate));
      const judgement = judge(factsOf({ ...candidate, record }, trust), withSummaries(expected, sources, plane));
      judged.push(judgement);
      if (judgement.passed) return reportOf([judgement, ...ranked(judged.slice(0, -1))], sources);
    }
  }
  const platforms = finder === undefined || artifact.image === undefined ? [] : await finder.images(artifact.image).catch(() => []);
  if (judged.length > 0) {
    // Once more, with what is known of the image by now: it changes no verdict, but what is advised.
    const known = { ...withSummaries(expected, sources, plane), platforms };
    return reportOf(ranked(judged.map(({ facts }) => judge(facts, known))), sources);
  }
  const names = sources.map(({ name }) => name);
  const refused = neverAttested(artifact, plane?.unattested ?? [], expected);
  if (refused !== undefined) return { sources: names, judgements: [], ...refused };
  const fix = await advice(artifact, places, platforms);
  return { sources: names, judgements: [], ...nothingFound(artifact, names.join(', '), fix) };
}

function reportOf(judgements: readonly Judgement[], sources: readonly Source[]) {
  const [best] = judgements;
  return { judgements, sources: sources.map(({ name }) => name), code: best?.code ?? null, checks: best?.checks ?? [] };
}

/** Each when the one before had nothing good: the image's registry is asked only if it has to be. */
async function* sourcesOf(
  { bundles, plane }: Places,
  { image }: Artifact,
  finder: BundleFinder | undefined,
): AsyncGenerator<Source | ChainloopError> {
  if (bundles.length > 0) yield await fromFiles(bundles);
  else if (plane !== undefined) yield plane;
  if (image === undefined || finder === undefined) return;
  yield await fromImage(finder, image).catch((error: unknown) => {
    if (isChainloopError(error)) return error;
    throw error;
  });
}

async function openFinder(context: Context, login: RegistryLogin): Promise<BundleFinder> {
  const { createBundleFinder } = await import('../core/adapters/oci/bundle-finder.ts');
  return createBundleFinder({ env: context.env, ...login, fetchPolicy: patienceOf(context) });
}

function withSummaries(expected: Expected, sources: readonly Source[], plane: PlaneSource | undefined): Expected {
  const { summary } = expected;
  if (summary === undefined) return expected;
  return {
    ...expected,
    summary: { ...summary, summaries: [...new Set([...sources, ...(plane === undefined ? [] : [plane])])].flatMap((one) => one.summaries) },
  };
}

/** What would let the gate find something. */
async function advice({ name, image }: Artifact, { bundles, plane }: Places, platforms: Expected['platforms']): Promise<string> {
  for (const digest of platforms) {
    if (image === undefined || (await plane?.has(digest)) !== true) continue;
    return `what was attested is the image of one platform in this index: verify ${image.layout === undefined ? `${image.repository}@${digest}` : digest}`;
  }
  if (bundles.length > 0) return 'give the bundle of the attestation with --bundle, too';
  const attest = 'attest it, as a material with output: true in the contract, and push it';
  if (image === undefined) return attest;
  const attach = `chainloop attestation attach --bundle FILE ${image.layout === undefined ? `${image.repository}@${image.digest}` : name}`;
  return `${plane === undefined ? attach : attest}; if this is the image of one platform, verify the image by its tag, which is what was attested`;
}
