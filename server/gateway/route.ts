import type { Action } from './actor.ts';

/**
 * A path of the OCI distribution API. `organization`, `digest`, `reference` and `session` are as the client wrote them: the gateway
 * checks them after it knows who asks, so that a refusal tells a stranger nothing.
 */
export type Route =
  | { readonly type: 'ping' }
  | { readonly type: 'token' }
  | { readonly type: 'blob'; readonly organization: string; readonly digest: string }
  | { readonly type: 'uploads'; readonly organization: string }
  | { readonly type: 'upload'; readonly organization: string; readonly session: string }
  | { readonly type: 'manifest'; readonly organization: string; readonly reference: string }
  | { readonly type: 'tags'; readonly organization: string }
  | { readonly type: 'referrers'; readonly organization: string; readonly digest: string };

/** The route of a request target, or undefined: there is none. Nothing is normalised: `..` and empty segments lead nowhere. */
export function parseRoute(target: string): { readonly route: Route | undefined; readonly query: URLSearchParams } {
  const mark = target.indexOf('?');
  const query = new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1));
  const segments = (mark < 0 ? target : target.slice(0, mark)).split('/').slice(1).map(decode);
  return { route: segments.includes(undefined) ? undefined : match(segments), query };
}

function match([version, organization, noun, name, rest, ...more]: readonly (string | undefined)[]): Route | undefined {
  if (version !== 'v2' || more.length > 0) return undefined;
  if (organization === undefined || (organization === '' && noun === undefined)) return { type: 'ping' };
  // No organization's: their paths are longer.
  if (organization === 'token' && noun === undefined) return { type: 'token' };
  if (organization === '' || name === undefined) return undefined;
  if (noun === 'blobs' && name === 'uploads') {
    return rest === undefined || rest === '' ? { type: 'uploads', organization } : { type: 'upload', organization, session: rest };
  }
  if (rest !== undefined) return undefined;
  switch (noun) {
    case 'blobs':
      return { type: 'blob', organization, digest: name };
    case 'manifests':
      return { type: 'manifest', organization, reference: name };
    case 'referrers':
      return { type: 'referrers', organization, digest: name };
    case 'tags':
      return name === 'list' ? { type: 'tags', organization } : undefined;
    default:
      return undefined;
  }
}

/** Clients may write the colon of a digest as %3A. What does not decode, or decodes to a separator, matches nothing. */
function decode(segment: string): string | undefined {
  if (!segment.includes('%')) return segment;
  try {
    const text = decodeURIComponent(segment);
    return /[/\\\0]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

const methods: Readonly<Record<Route['type'], Readonly<Record<string, Action>>>> = {
  ping: { GET: 'ping', HEAD: 'ping' },
  token: { GET: 'login', POST: 'login' },
  blob: { HEAD: 'statBlob', GET: 'readBlob', DELETE: 'delete' },
  uploads: { POST: 'uploadBlob' },
  upload: { GET: 'uploadBlob', PATCH: 'uploadBlob', PUT: 'uploadBlob', DELETE: 'uploadBlob' },
  manifest: { HEAD: 'statManifest', GET: 'readManifest', PUT: 'writeManifest', DELETE: 'delete' },
  tags: { GET: 'list', HEAD: 'list' },
  referrers: { GET: 'list', HEAD: 'list' },
};

/** What the method asks for on that route, or undefined: the route does not know the method. */
export function actionOf(route: Route, method: string): Action | undefined {
  const known = methods[route.type];
  return Object.hasOwn(known, method) ? known[method] : undefined;
}

/** The methods that do something there: for the header Allow (RFC 9110, section 10.2.1). */
export function allowedMethods({ type }: Route): readonly string[] {
  return Object.entries(methods[type]).flatMap(([method, action]) => (action === 'delete' ? [] : [method]));
}
