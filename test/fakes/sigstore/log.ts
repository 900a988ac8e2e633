import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

// A transparency log that keeps a real Merkle tree (RFC 6962, section 2.1) and signs real checkpoints (C2SP tlog-checkpoint).

export type Log = {
  /** As its checkpoints have it. */
  readonly name: string;
  readonly publicKey: KeyObject;
  readonly key: KeyObject;
  readonly keyId: Buffer;
  /** The index of the leaf; false when it is there already. */
  add(body: Buffer): { readonly index: number; readonly isNew: boolean };
  body(index: number): Buffer;
  prove(index: number): { readonly size: number; readonly root: Buffer; readonly hashes: readonly Buffer[] };
  checkpoint(origin: string): string;
};

/** Rekor v1 signs with ECDSA, and its id is the hash of its key; v2 with Ed25519, and its id is that of its checkpoints. */
export function createLog(name: string, type: 'ec' | 'ed25519'): Log {
  const { publicKey, privateKey: key } =
    type === 'ec' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519');
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  // C2SP signed-note, "Signatures": for Ed25519 the name, a new line, the type 0x01 and the key.
  const keyId = type === 'ec' ? sha256(spki) : sha256(Buffer.from(`${name}\n\x01`), spki.subarray(-32));
  const bodies: Buffer[] = [];
  const rootOf = (leaves: readonly Buffer[]): Buffer => {
    const [first] = leaves;
    if (first === undefined) return sha256();
    if (leaves.length === 1) return leafHash(first);
    const at = split(leaves.length);
    return sha256(Buffer.from([1]), rootOf(leaves.slice(0, at)), rootOf(leaves.slice(at)));
  };
  const path = (index: number, leaves: readonly Buffer[]): readonly Buffer[] => {
    if (leaves.length <= 1) return [];
    const at = split(leaves.length);
    return index < at
      ? [...path(index, leaves.slice(0, at)), rootOf(leaves.slice(at))]
      : [...path(index - at, leaves.slice(at)), rootOf(leaves.slice(0, at))];
  };
  return {
    name,
    publicKey,
    key,
    keyId,
    add(body) {
      const found = bodies.findIndex((other) => other.equals(body));
      return { index: found === -1 ? bodies.push(body) - 1 : found, isNew: found === -1 };
    },
    body: (index) => bodies[index] ?? Buffer.alloc(0),
    prove: (index) => ({ size: bodies.length, root: rootOf(bodies), hashes: path(index, bodies) }),
    checkpoint(origin) {
      const note = `${origin}\n${bodies.length}\n${rootOf(bodies).toString('base64')}\n`;
      const signature = sign(type === 'ec' ? 'sha256' : null, Buffer.from(note), key);
      return `${note}\n\u2014 ${name} ${Buffer.concat([keyId.subarray(0, 4), signature]).toString('base64')}\n`;
    },
  };
}

export function leafHash(body: Buffer): Buffer {
  return sha256(Buffer.from([0]), body);
}

function sha256(...pieces: readonly Uint8Array[]): Buffer {
  return createHash('sha256').update(Buffer.concat(pieces)).digest();
}

/** The largest power of two below. */
function split(count: number): number {
  return 2 ** Math.floor(Math.log2(count - 1));
}
