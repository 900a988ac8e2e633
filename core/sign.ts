import { buildBundle } from './bundle.ts';
import { pae } from './dsse.ts';
import type { Signer } from './ports.ts';

/** Signs a payload and returns its bundle in canonical form. What is signed is exactly these bytes (DSSE v1, protocol.md, "To sign"). */
export async function signPayload(payload: Uint8Array, payloadType: string, signer: Signer): Promise<string> {
  const { signature, verification } = await signer.sign(pae(payloadType, payload));
  return buildBundle({ payload, payloadType, signature, verification });
}
