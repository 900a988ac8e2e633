import { own } from './document.ts';

/** Other documents that are given by mistake, so that the message can say what was found. */
const documents: readonly (readonly [what: string, (document: unknown) => boolean])[] = [
  ['a document whose bomFormat is not CycloneDX', (document) => own(document, 'bomFormat') !== undefined],
  ['an in-toto statement', (document) => own(document, '_type') !== undefined && own(document, 'predicateType') !== undefined],
  ['a DSSE envelope', (document) => own(document, 'payloadType') !== undefined && own(document, 'signatures') !== undefined],
  ['a Sigstore bundle', (document) => own(document, 'dsseEnvelope') !== undefined || own(document, 'messageSignature') !== undefined],
  ['a SARIF log', (document) => own(document, 'runs') !== undefined && own(document, 'version') !== undefined],
  ['an OCI manifest or index', (document) => own(document, 'schemaVersion') === 2],
  ['a Chainloop contract', (document) => own(document, 'schemaVersion') === 'v1' || own(document, 'kind') === 'Contract'],
  [
    'a syft document in its own format',
    (document) => own(document, 'artifacts') !== undefined && own(document, 'descriptor') !== undefined,
  ],
  ['a JSON list', Array.isArray],
  ['a JSON object of another kind', (document) => typeof document === 'object' && document !== null],
  ['a JSON value that is no object', () => true],
];

/** What a JSON document is that no kind recognised. */
export function nameDocument(document: unknown): string {
  return documents.find(([, applies]) => applies(document))?.[0] ?? 'a JSON document';
}

const beginnings: readonly (readonly [what: string, RegExp])[] = [
  ['a gzip archive', /^\x1f\x8b/],
  ['a zip archive', /^PK\x03\x04/],
  ['a zstd archive', /^\x28\xb5\x2f\xfd/],
  ['a program', /^(\x7fELF|MZ|\xcf\xfa\xed\xfe)/],
  ['a CycloneDX XML document', /^\s*<[\s\S]{0,4096}cyclonedx\.org\/schema\/bom/],
  ['an XML document', /^\s*<\?xml/],
  ['an HTML page', /^\s*<(!doctype html|html)/i],
  ['an SPDX tag-value document', /^(\s*#[^\n]*\n)*\s*SPDXVersion:/],
  ['binary data', /^[\s\S]{0,1024}\x00/],
];

/** What bytes are that are not JSON, by their beginning; undefined when they look like JSON that is broken. */
export function nameBytes(bytes: Uint8Array): string | undefined {
  const beginning = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 8192)).toString('latin1');
  const known = beginnings.find(([, pattern]) => pattern.test(beginning));
  if (known !== undefined) return known[0];
  return /^(\xef\xbb\xbf)?\s*[{[]/.test(beginning) ? undefined : 'text that is not JSON';
}
