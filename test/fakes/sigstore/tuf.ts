import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { createServer } from 'node:http';
import { listen } from '../listen.ts';

type Json = string | number | boolean | readonly Json[] | { readonly [name: string]: Json };

/** A TUF repository on loopback, with one key for all roles (The Update Framework specification, section 4). */
export type TufRepository = {
  readonly url: string;
  /** The first root, as whoever trusts the repository has it. */
  readonly root: string;
  /** Publishes files under the next version, good until then. */
  publish(files: Readonly<Record<string, string>>, expires?: Date): void;
  /** Serves what an earlier version was: its number, from 1. */
  rollBack(version: number): void;
  /** Signs what is published from now on with a key that the root does not know. */
  steal(): void;
  /** Answers everything with 503. */
  setAway(away: boolean): void;
  readonly requests: readonly string[];
  [Symbol.asyncDispose](): Promise<void>;
};

export async function startTufRepository(): Promise<TufRepository> {
  let key = newKey();
  const forever = new Date(Date.now() + 24 * 3_600_000);
  const roles = Object.fromEntries(['root', 'timestamp', 'snapshot', 'targets'].map((role) => [role, { keyids: [key.id], threshold: 1 }]));
  const common = (type: string, version: number, expires: Date) => ({
    _type: type,
    spec_version: '1.0.31',
    version,
    expires: `${expires.toISOString().slice(0, 19)}Z`,
  });
  const signed = (content: Json): string =>
    JSON.stringify({
      signed: content,
      signatures: [{ keyid: key.id, sig: sign(null, Buffer.from(canonical(content)), key.privateKey).toString('hex') }],
    });
  const root = signed({ ...common('root', 1, forever), consistent_snapshot: true, keys: { [key.id]: key.content }, roles });

  const published: ReadonlyMap<string, string>[] = [];
  let served: ReadonlyMap<string, string> = new Map();
  let isAway = false;
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(request.url ?? '');
    const found = served.get(request.url ?? '');
    if (isAway) response.writeHead(503).end();
    else response.writeHead(found === undefined ? 404 : 200).end(found);
  });
  const listening = await listen(server);
  return {
    url: listening.origin,
    root,
    publish(files, expires = forever) {
      const version = published.length + 1;
      const paths = new Map<string, string>();
      const targets: Record<string, Json> = {};
      for (const [name, text] of Object.entries(files)) {
        const sha256 = createHash('sha256').update(text).digest('hex');
        targets[name] = { length: Buffer.byteLength(text), hashes: { sha256 } };
        paths.set(`/targets/${sha256}.${name}`, text);
      }
      paths.set(`/${version}.targets.json`, signed({ ...common('targets', version, forever), targets }));
      paths.set(`/${version}.snapshot.json`, signed({ ...common('snapshot', version, forever), meta: { 'targets.json': { version } } }));
      paths.set('/timestamp.json', signed({ ...common('timestamp', version, expires), meta: { 'snapshot.json': { version } } }));
      published.push(paths);
      served = paths;
    },
    rollBack(version) {
      served = published[version - 1] ?? served;
    },
    steal() {
      key = { ...newKey(), id: key.id };
    },
    setAway(away) {
      isAway = away;
    },
    requests,
    [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
  };
}

function newKey() {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
  const content = { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: raw.toString('hex') } };
  return { privateKey, content, id: createHash('sha256').update(canonical(content)).digest('hex') };
}

/** Canonical JSON (TUF specification, section 4.2), for what is written here: sorted keys, no white space. */
function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map((item: Json) => canonical(item)).join(',')}]`;
  if (typeof value !== 'object') return JSON.stringify(value);
  const members = Object.entries(value).toSorted(([one], [other]) => (one < other ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`;
}
