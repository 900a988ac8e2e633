import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { readLimited } from '../../core/adapters/files.ts';
import { ChainloopError, isChainloopError, type Problem } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { pemBlocks } from '../../core/pem.ts';
import { type ChainedKey, chainedKey, type Signers } from './generation.ts';

/** Extended key usages (RFC 5280, section 4.2.1.12). */
const purposes = { issuing: '1.3.6.1.5.5.7.3.3', timestamping: '1.3.6.1.5.5.7.3.8' } as const;
type Holder = keyof typeof purposes;

/**
 * An operator's own authorities, from a folder with `issuing.pem`, `issuing.key`, `timestamping.pem` and `timestamping.key`: a chain in PEM, its
 * holder first and its root last, and the holder's private key, P-256 or P-384, PKCS#8 or SEC1, not encrypted. The folder is read
 * again whenever the server looks for its keys. Throws USAGE with all problems.
 */
export async function readSigners(
  folder: string,
  now: Date,
): Promise<{ readonly signers: Signers; readonly chains: Record<Holder, string[]> }> {
  const problems: Problem[] = [];
  const [issuing, timestamping] = await Promise.all([
    readHolder(folder, 'issuing', now, problems),
    readHolder(folder, 'timestamping', now, problems),
  ]);
  if (problems.length > 0 || issuing === undefined || timestamping === undefined) {
    const said = problems.map(({ file, message }) => `${file} ${message}`).join('; ');
    throw new ChainloopError('USAGE', `certificate authority: the files in --ca-dir cannot be used: ${said}`, { problems });
  }
  return {
    signers: { issuing: issuing.held, timestamping: timestamping.held },
    chains: { issuing: issuing.chain, timestamping: timestamping.chain },
  };
}

async function readHolder(
  folder: string,
  holder: Holder,
  now: Date,
  problems: Problem[],
): Promise<{ readonly held: ChainedKey; readonly chain: string[] } | undefined> {
  const chainFile = `${holder}.pem`;
  const keyFile = `${holder}.key`;
  const report = (file: string, message: string): undefined => void problems.push({ file, message });
  const [chainText, keyText] = await Promise.all([readText(join(folder, chainFile)), readText(join(folder, keyFile))]);
  if (chainText === undefined) report(chainFile, 'cannot be read');
  if (keyText === undefined) report(keyFile, 'cannot be read');
  if (chainText === undefined || keyText === undefined) return undefined;
  const certificates = parseChain(chainText);
  if (certificates === undefined) return report(chainFile, 'is not a chain of PEM certificates, the root last, each signed by the next');
  const key = parseKey(keyText);
  if (key === undefined) return report(keyFile, 'is not an unencrypted P-256 or P-384 private key in PEM');
  const [first] = certificates;
  if (first === undefined || !first.checkPrivateKey(key)) return report(keyFile, `is not the key of the first certificate in ${chainFile}`);
  for (const certificate of certificates) {
    if (certificate.validFromDate > now || certificate.validToDate <= now) {
      report(chainFile, `has a certificate that is valid from ${certificate.validFrom} to ${certificate.validTo}`);
    }
  }
  const usages: readonly string[] | undefined = first.keyUsage;
  const fits = usages?.includes(purposes[holder]) ?? holder === 'issuing';
  if (!fits || first.ca !== (holder === 'issuing') || certificates.length < 2) {
    report(
      chainFile,
      holder === 'issuing'
        ? 'must begin with an authority that may issue code signing certificates, below its root'
        : 'must begin with a certificate for time stamping (critical) that is no authority, below its root',
    );
  }
  const chain = certificates.map((certificate) => certificate.toString());
  return { held: chainedKey(chain, key), chain };
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return Buffer.from(await readLimited(path, limits.keySizeBytes)).toString('utf8');
  } catch (error) {
    if (isChainloopError(error)) return undefined;
    throw error;
  }
}

function parseChain(text: string): readonly X509Certificate[] | undefined {
  try {
    const chain = pemBlocks(text).map((block) => new X509Certificate(block.text));
    const linked = chain.every((certificate, at) => certificate.verify((chain[at + 1] ?? certificate).publicKey));
    return chain.length > 0 && linked ? chain : undefined;
  } catch {
    return undefined;
  }
}

function parseKey(text: string): KeyObject | undefined {
  try {
    const key = createPrivateKey(text);
    return ['prime256v1', 'secp384r1'].includes(key.asymmetricKeyDetails?.namedCurve ?? '') ? key : undefined;
  } catch {
    return undefined;
  }
}
