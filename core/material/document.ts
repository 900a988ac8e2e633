import type { Problem } from '../errors.ts';

/** A few facts about a document, as annotations: small, and the same for the same bytes. */
export type Summary = Readonly<Record<string, string>>;

/** A kind of JSON document, as data: how to recognise it, check it and say what it is. */
export type DocumentFormat = {
  /** `CycloneDX JSON`: what a message says was wanted. */
  readonly title: string;
  /** Above this it is not read: LIMIT_EXCEEDED. */
  readonly maxBytes: number;
  /** What the document is (`a CycloneDX 1.4 JSON document`), or undefined when it is of another kind. Says nothing about its being right. */
  readonly recognise: (document: unknown) => string | undefined;
  /** What breaks the rules of the version of the specification that the document names itself. */
  readonly problems: (document: unknown) => Promise<readonly Problem[]>;
  /** Called for documents without problems only. */
  readonly summarise: (document: unknown) => Summary;
};

/** An own property of an object, whatever the object is called to have. */
export function own(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
}

/** A list, or an empty one for everything else. */
export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
