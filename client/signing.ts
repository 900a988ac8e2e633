import type { KeylessPorts } from '../core/adapters/keyless.ts';
import { fromBase64, toBase64 } from '../core/base64.ts';
import { ChainloopError } from '../core/errors.ts';
import type { Api } from './api.ts';

/** The control plane as the certificate authority of a job. FORBIDDEN for the token of a person: only jobs are certified. */
export function createKeylessPorts(api: Api): KeylessPorts {
  return {
    async identity() {
      const { identity } = await api.auth.whoami.query();
      if (identity !== null) return identity.san;
      throw new ChainloopError(
        'FORBIDDEN',
        'signing: keyless signatures name a job; use a service account or a CI token, or sign with --key',
      );
    },
    async certificate(publicKey, proof) {
      const answer = await api.signing.certificate.mutate({ publicKey: toBase64(publicKey), proof: toBase64(proof) });
      return answer.certificates;
    },
    async timestamp(request) {
      return fromBase64((await api.signing.timestamp.query({ request: toBase64(request) })).response);
    },
  };
}
