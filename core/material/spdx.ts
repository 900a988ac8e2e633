import * as z from 'zod';
import type { Problem } from '../errors.ts';
import { limits } from '../limits.ts';
import { formatPath, printable } from '../source/place.ts';
import { type DocumentFormat, list, own } from './document.ts';

const text = z.string('must be text');
const line = text.regex(/^[^\n]*\S[^\n]*$/, 'must be one line of text, and not empty');
/** SPDX 2.3, 7.2 allows letters, digits, dots and dashes only. Names of packages end up in here in practice, so anything visible is let pass. */
const ElementId = text.regex(/^SPDXRef-\S+$/, "must begin with 'SPDXRef-'");
const Time = text.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/, 'must be a time in UTC: YYYY-MM-DDThh:mm:ssZ');
const Algorithm = text.regex(/^[A-Z0-9][A-Za-z0-9_-]+$/, 'must be the name of an algorithm');
const Checksums = z.array(
  z.looseObject({ algorithm: Algorithm, checksumValue: text.regex(/^[0-9a-fA-F]+$/, 'must be hexadecimal') }),
  'must be a list',
);

/** SPDX 2.3, 6: what every document has. */
const Document = z.looseObject({
  spdxVersion: z.literal(['SPDX-2.2', 'SPDX-2.3'], "must be 'SPDX-2.2' or 'SPDX-2.3'"),
  dataLicense: z.literal('CC0-1.0', "must be 'CC0-1.0'"),
  SPDXID: z.literal('SPDXRef-DOCUMENT', "must be 'SPDXRef-DOCUMENT'"),
  name: line,
  documentNamespace: text.regex(/^[A-Za-z][-+.A-Za-z0-9]*:[^\s#]+$/, "must be an absolute URI without '#'"),
  creationInfo: z.looseObject(
    {
      created: Time,
      creators: z
        .array(text.regex(/^(Person|Organization|Tool): ?\S/, "must begin with 'Person: ', 'Organization: ' or 'Tool: '"), 'must be a list')
        .min(1, 'must name one creator at least'),
    },
    'must be an object',
  ),
  documentDescribes: z.array(text, 'must be a list').optional(),
});

/**
 * The parts, one after the other. What real tools leave out is not asked for, though 2.2 has it as mandatory: `copyrightText`,
 * licences (both optional in 2.3), and the checksums of directories among the files.
 */
const parts = {
  /** SPDX 2.3, 7. */
  packages: z.looseObject({
    SPDXID: ElementId,
    name: line,
    downloadLocation: line,
    versionInfo: text.optional(),
    filesAnalyzed: z.boolean('must be true or false').optional(),
    checksums: Checksums.optional(),
    externalRefs: z
      .array(z.looseObject({ referenceCategory: text, referenceType: text, referenceLocator: text }, 'must be an object'), 'must be a list')
      .optional(),
  }),
  /** SPDX 2.3, 8. */
  files: z.looseObject({ SPDXID: ElementId, fileName: line, checksums: Checksums.optional() }),
  /** SPDX 2.3, 9. */
  snippets: z.looseObject({ SPDXID: ElementId, snippetFromFile: text }),
  /** SPDX 2.3, 10. */
  hasExtractedLicensingInfos: z.looseObject({
    licenseId: text.regex(/^LicenseRef-\S+$/, "must begin with 'LicenseRef-'"),
    extractedText: text,
  }),
  /** SPDX 2.3, 11. */
  relationships: z.looseObject({ spdxElementId: text, relationshipType: line, relatedSpdxElement: text }),
} as const;

/** SPDX 3.0.1 serialised as JSON-LD: its structure, and what names document and version. Its profiles are not looked into. */
const Element = z.looseObject({ type: line });
const CreationInfo = z.looseObject({
  specVersion: text.regex(/^3\.\d+\.\d+$/, "must be a version of SPDX 3, such as '3.0.1'"),
  created: Time,
  createdBy: z.array(text, 'must be a list').min(1, 'must name one creator at least'),
});

/** SPDX in JSON: 2.2 and 2.3 by the specification's mandatory fields, 3.x by its structure. */
export const spdx: DocumentFormat = {
  title: 'SPDX JSON',
  maxBytes: limits.sbomSizeBytes,
  recognise: (document) => {
    const version = own(document, 'spdxVersion');
    if (version !== undefined)
      return `an SPDX ${typeof version === 'string' ? printable(version.replace(/^SPDX-/, ''), 10) : ''} JSON document`.replace('  ', ' ');
    return isThird(document) ? 'an SPDX 3 JSON document' : undefined;
  },
  problems: async (document) => (isThird(document) ? thirdProblems(document) : secondProblems(document)),
  summarise: (document) => (isThird(document) ? thirdSummary(document) : secondSummary(document)),
};

function isThird(document: unknown): boolean {
  return [own(document, '@context'), ...list(own(document, '@context'))].some(
    (context) => typeof context === 'string' && context.startsWith('https://spdx.org/rdf/3.'),
  );
}

function secondProblems(document: unknown): readonly Problem[] {
  const problems = [...problemsOf(Document, document, [])];
  const ids = new Set<unknown>(['SPDXRef-DOCUMENT']);
  for (const [part, schema] of Object.entries(parts)) {
    const entries = own(document, part);
    if (entries !== undefined && !Array.isArray(entries)) problems.push({ message: 'must be a list', path: part });
    for (const [index, entry] of list(entries).entries()) {
      // More than are shown need not be looked for.
      if (problems.length > limits.problems) return problems;
      problems.push(...problemsOf(schema, entry, [part, index]));
      const id = own(entry, 'SPDXID');
      if (id !== undefined && ids.has(id))
        problems.push({ message: 'is the identifier of another element too', path: `${part}[${index}].SPDXID` });
      ids.add(id);
    }
  }
  return problems;
}

function thirdProblems(document: unknown): readonly Problem[] {
  const graph = own(document, '@graph');
  if (!Array.isArray(graph) || graph.length === 0) return [{ message: 'must be a list of elements, and not empty', path: '@graph' }];
  const problems: Problem[] = [];
  for (const [index, element] of graph.entries()) {
    if (problems.length > limits.problems) return problems;
    problems.push(...problemsOf(own(element, 'type') === 'CreationInfo' ? CreationInfo : Element, element, ['@graph', index]));
  }
  for (const type of ['SpdxDocument', 'CreationInfo'])
    if (!graph.some((element) => own(element, 'type') === type))
      problems.push({ message: `must have an element of type ${type}`, path: '@graph' });
  return problems;
}

function problemsOf(schema: z.ZodType, value: unknown, path: readonly PropertyKey[]): readonly Problem[] {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return [];
  return result.error.issues.map((issue) => ({
    message: issue.input === undefined ? `missing; ${issue.message}` : issue.message,
    path: formatPath([...path, ...issue.path]),
  }));
}

function secondSummary(document: unknown): Readonly<Record<string, string>> {
  const creators = list(own(own(document, 'creationInfo'), 'creators'));
  const tool = creators.find((creator) => typeof creator === 'string' && creator.startsWith('Tool:'));
  return {
    'chainloop.material.sbom.format': String(own(document, 'spdxVersion')).replace('-', ' '),
    'chainloop.material.sbom.components': String(list(own(document, 'packages')).length),
    ...(typeof tool === 'string' ? { 'chainloop.material.sbom.tool': printable(tool.slice('Tool:'.length).trim(), 200) } : {}),
    'chainloop.material.sbom.main': printable(String(own(document, 'name')), 200),
  };
}

function thirdSummary(document: unknown): Readonly<Record<string, string>> {
  const graph = list(own(document, '@graph'));
  const ofType = (type: string) => graph.find((element) => own(element, 'type') === type);
  const main = own(ofType('SpdxDocument'), 'name');
  const tool = own(ofType('Tool'), 'name');
  return {
    'chainloop.material.sbom.format': `SPDX ${own(ofType('CreationInfo'), 'specVersion')}`,
    'chainloop.material.sbom.components': String(graph.filter((element) => own(element, 'type') === 'software_Package').length),
    ...(typeof tool === 'string' ? { 'chainloop.material.sbom.tool': printable(tool, 200) } : {}),
    ...(typeof main === 'string' ? { 'chainloop.material.sbom.main': printable(main, 200) } : {}),
  };
}
