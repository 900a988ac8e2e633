import { verify } from 'node:crypto';
import { fromBase64, toBase64 } from '../../core/base64.ts';
import { digestOf } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { hashOf, parsePublicKey } from '../../core/key.ts';
import { pemText } from '../../core/pem.ts';
import { wire } from '../../core/wire.ts';
import { recordAct } from '../../db/audit.ts';
import { isJob } from '../actor.ts';
import { ownPath } from '../ca/own-names.ts';
import { job, router } from '../trpc.ts';

export const signing = router({
  /**
   * A certificate of ten minutes for a key that the caller proves to have: for its own identity, as the server knows it, and no other.
   * PEM, the certificate first, then those between it and the root. KEY_INVALID, SIGNATURE_INVALID.
   */
  certificate: job.input(wire.signingCertificate).mutation(async ({ ctx: { caller, scope, services }, input }) => {
    if (!isJob(caller)) {
      throw new ChainloopError('FORBIDDEN', 'certificate: it names a job; use a service account or a CI token, or sign with --key');
    }
    const { san, issuer } = caller.identity;
    if (caller.type === 'run' && ownPath(san, services.origin()) !== undefined) {
      throw new ChainloopError('FORBIDDEN', `certificate: '${san}' is beneath the address of this control plane, where no CI system is`);
    }
    const { key, type } = parsePublicKey(pemText('PUBLIC KEY', fromBase64(input.publicKey)));
    if (!verify(hashOf(type), Buffer.from(san), key, fromBase64(input.proof))) {
      throw new ChainloopError('SIGNATURE_INVALID', `certificate: the proof is not a signature by this key over '${san}'`);
    }
    const claims = caller.type === 'run' ? caller.claims.fulcio : undefined;
    const certificates = await services.authority.issue(key, { san, issuer, claims });
    await recordAct(scope, {
      action: 'certificate.issue',
      name: san,
      details: { issuer, publicKey: digestOf(key.export({ type: 'spki', format: 'der' })) },
    });
    return { certificates };
  }),
  /** What `POST /tsa` does, for clients of this API: a TimeStampResp, DER in base64. */
  timestamp: job.input(wire.signingTimestamp).query(async ({ ctx: { services }, input }) => ({
    response: toBase64(await services.authority.timestamp(fromBase64(input.request))),
  })),
});
