import { ChainloopError, type Problem } from './errors.ts';
import { limits } from './limits.ts';
import { cyclonedx } from './material/cyclonedx.ts';
import type { DocumentFormat, Summary } from './material/document.ts';
import { nameBytes, nameDocument } from './material/recognise.ts';
import { spdx } from './material/spdx.ts';
import type { MaterialType } from './names.ts';
import type { EvidenceFile } from './ports.ts';
import { readJson } from './source/json.ts';
import { lineAndColumn } from './source/place.ts';
import { refuseDepth } from './source.ts';

/** A kind of evidence, as data. */
export type Kind = {
  readonly type: MaterialType;
  /** What `--value` is: the text itself, the path of a file, or the reference of an image. */
  readonly source: 'text' | 'file' | 'image';
  /** How the evidence is labelled in storage. */
  readonly mediaType: string;
  /** Only for kinds that are more than any file: what is inside. */
  readonly format?: DocumentFormat | undefined;
};

/** The kinds of evidence: one row each. */
export const kinds: Readonly<Record<MaterialType, Kind>> = {
  STRING: { type: 'STRING', source: 'text', mediaType: 'text/plain' },
  ARTIFACT: { type: 'ARTIFACT', source: 'file', mediaType: 'application/octet-stream' },
  CONTAINER_IMAGE: { type: 'CONTAINER_IMAGE', source: 'image', mediaType: 'application/vnd.oci.image.manifest.v1+json' },
  EVIDENCE: { type: 'EVIDENCE', source: 'file', mediaType: 'application/octet-stream' },
  SBOM_CYCLONEDX_JSON: {
    type: 'SBOM_CYCLONEDX_JSON',
    source: 'file',
    mediaType: 'application/vnd.cyclonedx+json',
    format: cyclonedx,
  },
  SBOM_SPDX_JSON: { type: 'SBOM_SPDX_JSON', source: 'file', mediaType: 'application/spdx+json', format: spdx },
};

/** Every format, to say what a document is that is not what was wanted. */
const formats = Object.values(kinds).flatMap(({ format }) => (format === undefined ? [] : [format]));

/**
 * Checks that a file is what its kind promises, and says in a few words what it is (nothing, for kinds that take any file). A document
 * of another kind is MATERIAL_KIND_MISMATCH, naming what was found and what was wanted; one of the right kind that breaks the rules of
 * its own specification version is MATERIAL_INVALID with every problem (at most `limits.problems`); LIMIT_EXCEEDED for its size.
 */
export async function checkKind(type: MaterialType, file: Pick<EvidenceFile, 'fileName' | 'sizeBytes' | 'read'>): Promise<Summary> {
  const { format } = kinds[type];
  if (format === undefined) return {};
  if (file.sizeBytes > format.maxBytes)
    throw new ChainloopError(
      'LIMIT_EXCEEDED',
      `${file.fileName}: ${file.sizeBytes} bytes; the limit of ${format.title} is ${format.maxBytes}`,
    );
  const bytes = await readWhole(file);
  const document = parseDocument(bytes, file.fileName, format);
  if (format.recognise(document) === undefined) {
    const found = formats.map((other) => other.recognise(document)).find((name) => name !== undefined) ?? nameDocument(document);
    throw mismatch(file.fileName, found, format);
  }
  const problems = await format.problems(document);
  if (problems.length > 0) throw invalid(file.fileName, format, problems);
  return format.summarise(document);
}

async function readWhole(file: Pick<EvidenceFile, 'fileName' | 'sizeBytes' | 'read'>): Promise<Uint8Array> {
  const bytes = new Uint8Array(file.sizeBytes);
  let length = 0;
  for await (const piece of file.read()) {
    if (length + piece.length <= bytes.length) bytes.set(piece, length);
    length += piece.length;
  }
  if (length === bytes.length) return bytes;
  throw new ChainloopError('FILE_CHANGED', `${file.fileName} changed while it was read; add it when it is complete`);
}

function parseDocument(bytes: Uint8Array, fileName: string, format: DocumentFormat): unknown {
  const found = nameBytes(bytes);
  if (found !== undefined) throw mismatch(fileName, found, format);
  refuseDepth(bytes, { name: fileName, code: 'MATERIAL_INVALID' });
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw invalid(fileName, format, [syntaxProblem(bytes)]);
  }
}

/** The place of a syntax error. The parser's own message would quote the content. */
function syntaxProblem(bytes: Uint8Array): Problem {
  const problem: Problem = { message: 'not valid JSON in UTF-8; it may be cut off' };
  if (bytes.length > limits.syntaxPlaceSizeBytes) return problem;
  const text = new TextDecoder().decode(bytes);
  let offset: number | undefined;
  try {
    readJson(text, { depth: limits.nestingDepth, values: Number.POSITIVE_INFINITY }, (findings) => {
      offset = findings.at(-1)?.offset;
      throw new ChainloopError('MATERIAL_INVALID', problem.message);
    });
  } catch (error) {
    if (!(error instanceof ChainloopError)) throw error;
  }
  return offset === undefined ? problem : { ...problem, ...lineAndColumn(text, offset) };
}

function mismatch(fileName: string, found: string, wanted: DocumentFormat): ChainloopError {
  return new ChainloopError('MATERIAL_KIND_MISMATCH', `${fileName}: found ${found}; wanted ${wanted.title}`);
}

function invalid(fileName: string, format: DocumentFormat, problems: readonly Problem[]): ChainloopError {
  const shown = problems.slice(0, limits.problems);
  const count = shown.length === 1 ? '1 problem' : `${shown.length} problems`;
  // The search ends early in large documents, so the total is not known.
  const more = problems.length > shown.length ? ', and more that are not listed' : '';
  return new ChainloopError('MATERIAL_INVALID', `${fileName}: not valid ${format.title}: ${count} found${more}`, { problems: shown });
}
