import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, describe, test } from 'node:test';
import { bundleFromJSON } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { startIssuer } from '../../../test/fakes/issuer.ts';
import { signBundle } from '../../../test/fakes/job.ts';
import { type Answer, type Fault, type ServiceName, startSigstore } from '../../../test/fakes/sigstore/server.ts';
import { parseBundle } from '../../bundle.ts';
import { statementPayloadType } from '../../dsse.ts';
import { type ErrorCode, isChainloopError } from '../../errors.ts';
import type { Signer } from '../../ports.ts';
import { loadTrustRoot } from '../../trust-root.ts';
import { verifyBundle } from '../../verify.ts';
import type { RetryPolicy } from '../retry.ts';
import { createSigstoreSigner, type SigstorePorts } from './signer.ts';

const sigstore = await startSigstore();
const issuer = await startIssuer({ audience: 'sigstore' });
after(async () => {
  await sigstore[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
});

const payload = new Uint8Array(Buffer.from('{"_type":"https://in-toto.io/Statement/v1"}'));
const release = 'https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main';
const once: RetryPolicy = { attempts: 1, baseDelayMs: 0, maxDelayMs: 0, budgetMs: 0 };
const twice: RetryPolicy = { attempts: 2, baseDelayMs: 0, maxDelayMs: 0, budgetMs: 60_000 };

type Change = Partial<SigstorePorts> & { readonly use?: Parameters<typeof sigstore.signingConfig>[0]; readonly trustRoot?: string };

function signer({ use, trustRoot = sigstore.trustRoot(), ...ports }: Change = {}): Signer {
  return createSigstoreSigner({
    instance: async () => ({ trustRoot, signingConfig: sigstore.signingConfig(use) }),
    token: () => issuer.github(),
    now: () => new Date(),
    retryPolicy: once,
    ...ports,
  });
}

const signed = (change?: Change): Promise<string> => signBundle(payload, statementPayloadType, signer(change));

/** What the other implementation says, by what the trusted root calls for. */
function verifiedByLibrary(bundle: string, timestamps: number, logs: number): void {
  const material = toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(sigstore.trustRoot())));
  const verifier = new Verifier(material, { tlogThreshold: logs, ctlogThreshold: 1, timestampThreshold: timestamps });
  verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(bundle))));
}

describe('what Sigstore signs is verified by us and by sigstore-js', () => {
  const rows = [
    { what: 'Rekor v2: a hashedrekord entry, and a timestamp', use: { rekor: [2] }, kinds: ['hashedrekord 0.0.2'], times: 1 },
    { what: 'Rekor v1: a dsse entry with its promise, and a timestamp', use: { rekor: [1] }, kinds: ['dsse 0.0.1'], times: 2 },
    { what: 'Rekor v1 alone says when', use: { rekor: [1], tsa: false }, kinds: ['dsse 0.0.1'], times: 1 },
    { what: 'both logs', use: { rekor: [1, 2] }, kinds: ['hashedrekord 0.0.2', 'dsse 0.0.1'], times: 2 },
  ] as const;
  for (const { what, use, kinds, times } of rows) {
    test(what, async () => {
      const told: (string | readonly string[])[] = [];
      const text = await signed({ use, signing: (...said) => void told.push(...said) });
      const bundle = parseBundle(text, { canonical: true });
      assert.deepEqual(
        bundle.transparencyLogEntries.map(({ kindVersion: { kind, version } }) => `${kind} ${version}`),
        kinds,
      );
      const trustRoot = await loadTrustRoot(sigstore.trustRoot());
      const verified = verifyBundle(text, {
        type: 'identity',
        trustRoot,
        identity: { exact: release },
        issuer: issuer.issuer,
        strict: true,
      });
      assert.deepEqual([verified.signer.name, Buffer.from(verified.payload).equals(payload)], [release, true]);
      verifiedByLibrary(text, times, kinds.length);
      assert.equal(told[0], release);
      assert.equal(told[1]?.length, kinds.length);
    });
  }
});

test('the certificate names what the token proves: a workflow of GitHub, a configuration of GitLab, a verified address, a subject', async () => {
  const rows = [
    [() => issuer.github(), `URI:${release}`],
    [() => issuer.gitlab(), 'URI:https://gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main'],
    [
      () => issuer.github({ claims: { job_workflow_ref: undefined, sub: 'https://ci.example.com/jobs/1' } }),
      'URI:https://ci.example.com/jobs/1',
    ],
  ] as const;
  for (const [token, san] of rows) {
    const { verification } = await signer({ token }).sign(paeOf(payload));
    assert.ok(verification.type === 'certificate');
    assert.equal(new X509Certificate(verification.certificatesPem[0] ?? '').subjectAltName, san);
  }
  const address = { job_workflow_ref: undefined, email: 'alice@example.com', email_verified: false };
  await refused({ token: () => issuer.github({ claims: address }) }, 'UNAUTHENTICATED', /has not verified/);
});

test('each signature has a key of its own, and nothing of a key or token is in the bundle', async () => {
  const one = signer();
  const keys = new Set<string>();
  for (let count = 0; count < 3; count++) {
    const { verification } = await one.sign(paeOf(payload));
    assert.ok(verification.type === 'certificate');
    keys.add(new X509Certificate(verification.certificatesPem[0] ?? '').publicKey.export({ type: 'spki', format: 'pem' }).toString());
  }
  assert.equal(keys.size, 3);
  const text = await signed();
  for (const token of issuer.minted) assert.ok(!text.includes(token));
});

test('what witnesses have added to a checkpoint is left out: evidence has nothing in it that a verifier cannot check', async () => {
  const [entry] = parseBundle(await signed()).transparencyLogEntries;
  assert.match(entry?.inclusionProof?.checkpoint?.envelope ?? '', /^[^\n]+\n\d+\n[^\n]+\n\n\u2014 [^\n]+\n$/);
});

describe('an entry that is there already', () => {
  /** The log works, and its answer gets lost. */
  const lost: Fault = async (work) => {
    await work();
    return { status: 503, body: { message: 'the answer was lost' } };
  };
  test('Rekor v1: the one that is there is taken', async () => {
    sigstore.fail('rekor1', [lost]);
    const before = sigstore.logs.rekor1.prove(0).size;
    const text = await signed({ use: { rekor: [1] }, retryPolicy: twice });
    assert.equal(sigstore.logs.rekor1.prove(0).size, before + 1, 'one entry, not two');
    assert.match(sigstore.requests.join('\n'), /GET \/rekor1\/api\/v1\/log\/entries\/[0-9a-f]{80}/);
    verifiedByLibrary(text, 2, 1);
  });
  test('Rekor v2, which gives no entry out: another signature is another entry', async () => {
    sigstore.fail('rekor2', [lost]);
    const before = sigstore.logs.rekor2.prove(0).size;
    const text = await signed({ retryPolicy: twice });
    assert.equal(sigstore.logs.rekor2.prove(0).size, before + 2);
    verifiedByLibrary(text, 1, 1);
  });
  test('a log that says so of everything is given up', async () => {
    sigstore.fail('rekor2', async () => ({ status: 409, body: { message: 'an equivalent entry already exists' } }));
    await refused({}, 'SIGNING_REFUSED', /each new signature/);
  });
  test('an entry that a log names is asked of that log alone', async () => {
    const location = 'http://127.0.0.1:9/api/v1/log/entries/../../../../evil';
    sigstore.fail('rekor1', [async () => ({ status: 409, headers: { location }, body: { code: 409 } })]);
    await refused({ use: { rekor: [1] } }, 'SIGNING_REFUSED', /does not say which/);
  });
});

describe('a service that does not do its work', () => {
  const answered =
    (status: number, message: string): Fault =>
    () =>
      Promise.resolve({ status, body: { code: status, message } });
  const changed =
    (change: (body: string) => string): Fault =>
    async (work): Promise<Answer> => {
      const answer = await work();
      return { ...answer, body: change(JSON.stringify(answer.body)) };
    };
  /** What was answered to the first request, again and again. */
  const theFirst = (): Fault => {
    let first: Answer | undefined;
    return async (work) => {
      first ??= await work();
      return first;
    };
  };
  const services: readonly ServiceName[] = ['fulcio', 'rekor1', 'rekor2', 'tsa'];
  const everywhere: readonly (readonly [what: string, fault: Fault, code: ErrorCode, says: RegExp])[] = [
    ['is out of order', answered(500, 'database is down'), 'SIGNING_UNAVAILABLE', /status 500: database is down; try again later/],
    ['is overloaded', answered(503, ''), 'SIGNING_UNAVAILABLE', /status 503; try again later/],
    ['has too many requests', answered(429, 'slow down'), 'SIGNING_UNAVAILABLE', /status 429/],
    ['breaks the connection', async () => 'reset', 'SIGNING_UNAVAILABLE', /connection/],
    ['refuses the request', answered(400, 'no such thing'), 'SIGNING_REFUSED', /status 400: no such thing$/],
    ['wants credentials', answered(403, 'who are you'), 'UNAUTHENTICATED', /status 403: who are you; does it know the issuer/],
    [
      'leads elsewhere',
      () => Promise.resolve({ status: 302, headers: { location: 'http://127.0.0.1:9/' }, body: '' }),
      'SIGNING_REFUSED',
      /status 302/,
    ],
    [
      'is a page for people',
      () => Promise.resolve({ status: 200, body: '<html>Sign in to the hotel network</html>' }),
      'SIGNING_REFUSED',
      /what answers at/,
    ],
    [
      'answers without an end',
      () => Promise.resolve({ status: 200, body: Buffer.alloc(2 * 1024 * 1024, 32) }),
      'LIMIT_EXCEEDED',
      /larger than/,
    ],
  ];
  for (const service of services)
    for (const [what, fault, code, says] of everywhere)
      test(`${service} ${what}: ${code}`, async () => {
        sigstore.fail(service, fault);
        const rekor = service === 'rekor1' ? ([1] as const) : ([2] as const);
        await refused({ use: { rekor } }, code, says);
        sigstore.fail(service, []);
      });

  const rows: readonly (readonly [what: string, service: ServiceName, fault: Fault, code: ErrorCode, says: RegExp])[] = [
    [
      'Fulcio certifies another key',
      'fulcio',
      changed((body) => body.replace(/"certificates":\["[^"]+",/, '"certificates":[')),
      'SIGNING_REFUSED',
      /certified another key/,
    ],
    [
      'the log entry is of another signature',
      'rekor2',
      theFirst(),
      'TRANSPARENCY_INVALID',
      /another key or certificate.*what Sigstore answered does not hold/,
    ],
    [
      'the checkpoint is not signed by the log',
      'rekor2',
      changed((body) => body.replace(/(\\n\\n\u2014 \S+ \S{12})./, (_, before: string) => `${before}!`)),
      'TRANSPARENCY_INVALID',
      /does not hold/,
    ],
    [
      'the promise is of another time',
      'rekor1',
      changed((body) => body.replace(/"integratedTime":(\d+)/, (_, time: string) => `"integratedTime":${Number(time) + 1}`)),
      'TRANSPARENCY_INVALID',
      /does not hold/,
    ],
    [
      'the proof leads to another root',
      'rekor1',
      changed((body) => body.replace(/"rootHash":"(.)/, (_, first: string) => `"rootHash":"${first === '0' ? '1' : '0'}`)),
      'TRANSPARENCY_INVALID',
      /another tree/,
    ],
    ['the stamp is of something else', 'tsa', theFirst(), 'SIGNING_REFUSED', /did not stamp this signature/],
  ];
  for (const [what, service, fault, code, says] of rows)
    test(`${what}: ${code}, and nothing is signed`, async () => {
      sigstore.fail(service, fault);
      const change = { use: { rekor: service === 'rekor1' ? ([1] as const) : ([2] as const) } };
      if (what.includes(' is of ')) await signed(change).catch(() => undefined);
      await refused(change, code, says);
      sigstore.fail(service, []);
    });
});

test('a service that is silent is given up after the time that an answer may take', async () => {
  for (const service of ['fulcio', 'rekor2', 'tsa'] as const) {
    sigstore.fail(service, async () => 'silence');
    await refused({ answerTimeoutMs: 200 }, 'SIGNING_UNAVAILABLE', /no sign of life for 0.2 s; try again later/);
    sigstore.fail(service, []);
  }
});

test('a failure that passes is waited out, and one that asks for time gets it', async () => {
  const busy: Fault = () => Promise.resolve({ status: 429, headers: { 'retry-after': '0' }, body: { message: 'slow down' } });
  for (const service of ['fulcio', 'rekor2', 'tsa'] as const) sigstore.fail(service, [busy]);
  verifiedByLibrary(await signed({ retryPolicy: twice }), 1, 1);
});

test('no message has the token in it, whatever a service answers', async () => {
  const stale = await issuer.github({ audience: 'somebody else' });
  await assert.rejects(signed({ token: async () => stale }), (error) => {
    assert.ok(isChainloopError(error, 'UNAUTHENTICATED'));
    assert.ok(!error.message.includes(stale.slice(0, 20)) && !error.message.includes(stale.slice(-20)), error.message);
    return true;
  });
});

test('nothing is sent in the clear to another machine', async () => {
  const instance = async () => ({
    trustRoot: sigstore.trustRoot(),
    signingConfig: sigstore.signingConfig().replaceAll(sigstore.origin, 'http://fulcio.example.com'),
  });
  await refused({ instance }, 'USAGE', /is not https/);
});

describe('S3: what the trusted root calls for is asked of our own work too', () => {
  const use = { rekor: [2] } as const;
  test('no log entry, where it names logs', () => refused({ use: { rekor: [] } }, 'TRANSPARENCY_INVALID', /0 transparency logs, and 1/));
  test('a root without these logs', () =>
    refused(
      { use, trustRoot: sigstore.trustRoot({ without: ['tlogs'] }) },
      'TRANSPARENCY_INVALID',
      /log that the trusted root does not name/,
    ));
  test('a log whose time is over', () =>
    refused(
      { use, trustRoot: sigstore.trustRoot({ tlogs: { start: '2026-01-01T00:00:00Z', end: '2026-01-02T00:00:00Z' } }) },
      'TRANSPARENCY_INVALID',
      /outside the period/,
    ));
  test('a root that does not know the time-stamping authority', () =>
    refused({ use, trustRoot: sigstore.trustRoot({ without: ['timestampAuthorities'] }) }, 'TIMESTAMP_INVALID', /not of an authority/));
  test('no service that says when: refused before anything is asked', async () => {
    const before = sigstore.requests.length;
    await refused({ use: { rekor: [2], tsa: false } }, 'USAGE', /nothing in it says when/);
    assert.equal(sigstore.requests.length, before);
  });
  test('services that are not in use any more', () =>
    refused({ use: { validFor: { start: '2026-01-01T00:00:00Z', end: '2026-01-02T00:00:00Z' } } }, 'USAGE', /caUrls has no service/));
  test('a certificate without the promise of a CT log, where it names one', async () => {
    await using without = await startSigstore();
    without.withoutSct();
    const instance = (trustRoot: string) => async () => ({ trustRoot, signingConfig: without.signingConfig() });
    await refused({ instance: instance(without.trustRoot()) }, 'SIGNER_UNTRUSTED', /SCT|does not hold/);
    // A root that names none does not ask for it.
    await signed({ instance: instance(without.trustRoot({ without: ['ctlogs'] })) });
  });
});

async function refused(change: Change, code: ErrorCode, says: RegExp): Promise<void> {
  await assert.rejects(signed(change), (error) => {
    assert.ok(isChainloopError(error), String(error instanceof Error ? error.stack : error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, says);
    return true;
  });
}

function paeOf(content: Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([Buffer.from(`DSSEv1 28 ${statementPayloadType} ${content.byteLength} `), content]));
}
