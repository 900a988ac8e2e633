import { limits } from '../limits.ts';
import { printable } from '../source/place.ts';
import { type DocumentFormat, list, own } from './document.ts';

/** The versions that have a JSON form, and of which the schema is at hand. */
const versions: readonly unknown[] = ['1.2', '1.3', '1.4', '1.5', '1.6', '1.7'];

/**
 * CycloneDX in JSON, against the schema of its own `specVersion`. Up to 1.3 that is the specification's plain schema, not its
 * "strict" one, which refuses documents that the specification allows.
 */
export const cyclonedx: DocumentFormat = {
  title: 'CycloneDX JSON',
  maxBytes: limits.sbomSizeBytes,
  recognise: (document) => {
    if (own(document, 'bomFormat') !== 'CycloneDX') return undefined;
    const version = own(document, 'specVersion');
    return typeof version === 'string' ? `a CycloneDX ${printable(version, 10)} JSON document` : 'a CycloneDX JSON document';
  },
  problems: async (document) => {
    const version = own(document, 'specVersion');
    if (typeof version !== 'string' || !versions.includes(version))
      return [{ message: `must be one of ${versions.join(', ')}`, path: 'specVersion' }];
    // The schemas are data of a package; they and their compiler are loaded by who has such a document only.
    const { cyclonedxProblems } = await import('../adapters/cyclonedx-schemas.ts');
    return cyclonedxProblems(version, document);
  },
  summarise: (document) => {
    const metadata = own(document, 'metadata');
    const tools = own(metadata, 'tools');
    // From 1.5 on, tools are components; before, and still allowed, a list of their own.
    const tool = [...list(tools), ...list(own(tools, 'components')), ...list(own(tools, 'services'))][0];
    return {
      'chainloop.material.sbom.format': `CycloneDX ${own(document, 'specVersion')}`,
      'chainloop.material.sbom.components': String(list(own(document, 'components')).length),
      ...named('chainloop.material.sbom.tool', tool),
      ...named('chainloop.material.sbom.main', own(metadata, 'component')),
    };
  },
};

/** `name version`, when there is a name. */
function named(key: string, component: unknown): Readonly<Record<string, string>> {
  const [name, version] = [own(component, 'name'), own(component, 'version')];
  if (typeof name !== 'string') return {};
  return { [key]: printable(typeof version === 'string' ? `${name} ${version}` : name, 200) };
}
