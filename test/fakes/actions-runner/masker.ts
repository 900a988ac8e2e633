/** What a runner hides in everything that it shows. */
export type Masker = {
  /** Hides a text, each of its lines, and the forms that it takes in base64, JSON, URLs and XML. */
  add(secret: string): void;
  mask(text: string): string;
};

export function createMasker(): Masker {
  const hidden = new Set<string>();
  return {
    add(secret) {
      const texts = [secret, ...secret.split(/[\r\n]+/)].filter((text) => text.trim() !== '');
      for (const form of texts.flatMap(formsOf)) hidden.add(form);
    },
    mask(text) {
      // Where secrets overlap, the whole stretch is one mask.
      const covered = [...hidden].flatMap((secret) => placesOf(text, secret)).toSorted(([a], [b]) => a - b);
      let shown = '';
      let at = 0;
      for (const [start, end] of covered) {
        if (start > at || (start === 0 && at === 0)) shown += `${text.slice(at, start)}***`;
        at = Math.max(at, end);
      }
      return shown + text.slice(at);
    },
  };
}

function placesOf(text: string, secret: string): readonly (readonly [number, number])[] {
  const places: (readonly [number, number])[] = [];
  for (let at = text.indexOf(secret); at >= 0; at = text.indexOf(secret, at + 1)) places.push([at, at + secret.length]);
  return places;
}

/** The runner's value encoders. */
function formsOf(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  // In a longer text, base64 depends on where it begins; the letters at the edges mix with what stands beside.
  const shifted = [1, 2]
    .map((skip) => bytes.subarray(skip).toString('base64').replace(/=+$/, '').slice(0, -1))
    .filter((form) => form.length > 3);
  const forms = [
    secret,
    bytes.toString('base64'),
    bytes.toString('base64').replace(/=+$/, '').slice(0, -1),
    ...shifted,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret),
    secret.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`),
    secret.replace(/^"(.*)"$/, '$1'),
  ];
  return forms.filter((form) => form.length >= Math.min(3, secret.length) && form !== '');
}
