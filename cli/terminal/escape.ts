/** Controls, format characters (bidi overrides, zero-width, tags), line and paragraph separators, lone surrogates. */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const plainAscii = /^[\x20-\x7e]*$/;
const short: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\x1b': '\\x1b' };

/**
 * The text with everything that a terminal would act upon, or not show, written as an escape: `\n`, `\x1b`, `\u{202e}`. Whoever
 * names a material or an annotation writes to the terminal of whoever lists it, so every printed field passes through here.
 */
export function escapeText(text: string): string {
  if (plainAscii.test(text)) return text;
  return text.replace(unprintable, (character) => short[character] ?? `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}

/**
 * A value as a JSON document of three-space indentation. Characters that a terminal would act upon are written as `\uXXXX`, which
 * any JSON parser reads back: they can only occur inside strings.
 */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, null, 3).replace(/[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`).join(''),
  );
}
