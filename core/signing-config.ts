import * as z from 'zod';
import { ChainloopError } from './errors.ts';
import { limits } from './limits.ts';
import { readJson } from './source/json.ts';
import { type Finding, formatPath } from './source/place.ts';

/** Sigstore's signing config (protobuf-specs, sigstore_trustroot.proto, SigningConfig): which services a signature is made with. */
const signingConfigMediaType = 'application/vnd.dev.sigstore.signingconfig.v0.2+json';

const Service = z.looseObject({
  url: z
    .string()
    .max(2048)
    .refine((text) => /^https?:\/\//.test(text) && URL.canParse(text), 'is not an http(s) URL'),
  majorApiVersion: z.int().min(1),
  validFor: z.looseObject({ start: z.iso.datetime({ offset: true }), end: z.iso.datetime({ offset: true }).optional() }),
  operator: z.string().max(1024).default(''),
});
type Service = z.infer<typeof Service>;

const Selection = z.looseObject({
  selector: z.enum(['ANY', 'ALL', 'EXACT'], 'is not ANY, ALL or EXACT'),
  count: z.int().min(1).max(16).optional(),
});
type Selection = z.infer<typeof Selection>;

const Services = z.array(Service).max(64).default([]);

/** What is used of the text. Other fields are of later versions, and left alone. */
const SigningConfigText = z.looseObject({
  mediaType: z.literal(signingConfigMediaType, `is not ${signingConfigMediaType}`),
  caUrls: Services,
  rekorTlogUrls: Services,
  rekorTlogConfig: Selection.default({ selector: 'ANY' }),
  tsaUrls: Services,
  tsaConfig: Selection.default({ selector: 'ANY' }),
});

/** The services for one signature. */
export type SigningServices = {
  /** Fulcio: an origin, or what its API stands beneath. */
  readonly authority: URL;
  /** Rekor, by the version of its API. */
  readonly logs: readonly { readonly url: URL; readonly version: 1 | 2 }[];
  /** RFC 3161: the whole address. */
  readonly timestampers: readonly URL[];
};

/**
 * The services that a signing config wants now: of each operator the one with the newest API that is known here, and of these as many as it
 * says (sigstore_trustroot.proto, ServiceConfiguration). USAGE when it cannot be read, when a service is missing, and when nothing could say
 * at what time was signed; LIMIT_EXCEEDED.
 */
export function selectServices(text: string, now: Date): SigningServices {
  const config = parse(text);
  // Fulcio's API v2 is version 1 here, as in the public config.
  const [authority] = select(config.caUrls, { selector: 'ANY' }, [1], now, 'caUrls');
  if (authority === undefined) throw refuse('caUrls has no service with API version 1 that is in use now');
  const logs = select(config.rekorTlogUrls, config.rekorTlogConfig, [2, 1], now, 'rekorTlogUrls').map(
    ({ url, majorApiVersion }) => ({ url: new URL(url), version: majorApiVersion === 2 ? 2 : 1 }) as const,
  );
  const timestampers = select(config.tsaUrls, config.tsaConfig, [1], now, 'tsaUrls').map(({ url }) => new URL(url));
  // An entry of Rekor v2 has no time.
  if (timestampers.length === 0 && !logs.some(({ version }) => version === 1)) {
    throw refuse('nothing in it says when a signature was made: it needs a service in tsaUrls, or one with API version 1 in rekorTlogUrls');
  }
  return { authority: new URL(authority.url), logs, timestampers };
}

function select(services: readonly Service[], { selector, count = 1 }: Selection, known: readonly number[], now: Date, list: string) {
  const usable = services
    .filter(({ majorApiVersion, validFor: { start, end } }) => {
      return (
        known.includes(majorApiVersion) && Date.parse(start) <= now.getTime() && (end === undefined || now.getTime() < Date.parse(end))
      );
    })
    // The sort keeps the order of what is equal: the newest service comes first.
    .toSorted((one, other) => other.majorApiVersion - one.majorApiVersion);
  const operatorOf = ({ operator, url }: Service): string => operator || url;
  const chosen = usable.filter((service, at) => usable.findIndex((other) => operatorOf(other) === operatorOf(service)) === at);
  switch (selector) {
    case 'ALL':
      return chosen;
    case 'ANY':
      if (services.length > 0 && chosen.length === 0) throw refuse(`${list} has no service that is known here and in use now`);
      return chosen.slice(0, 1);
    case 'EXACT':
      if (chosen.length < count)
        throw refuse(`${list} has ${chosen.length} services that are known here and in use now, and asks for ${count}`);
      return chosen.slice(0, count);
  }
}

function parse(text: string) {
  if (Buffer.byteLength(text) > limits.signingConfigSizeBytes) {
    throw new ChainloopError('LIMIT_EXCEEDED', `signing config: larger than ${limits.signingConfigSizeBytes} bytes`);
  }
  const stop = (findings: readonly Finding[]): never => {
    throw refuseAll(findings);
  };
  const { value, findings } = readJson(text, { depth: limits.nestingDepth, values: Number.POSITIVE_INFINITY }, stop);
  if (findings.length > 0) return stop(findings);
  const result = SigningConfigText.safeParse(value);
  return result.success ? result.data : stop(result.error.issues);
}

function refuseAll(findings: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[]): ChainloopError {
  const problems = findings.slice(0, limits.problems).map(({ path, message }) => ({ path: formatPath(path), message }));
  const [first] = problems;
  if (first !== undefined && findings.length === 1) return refuse(`${first.path} ${first.message}`.trim());
  return new ChainloopError('USAGE', `signing config: ${findings.length} problems`, { problems });
}

function refuse(message: string): ChainloopError {
  return new ChainloopError('USAGE', `signing config: ${message}`);
}
