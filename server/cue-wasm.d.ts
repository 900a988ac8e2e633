/** The part of cue-wasm 1.0.0 that is used; the package has no types. */
declare module 'cue-wasm' {
  /** `toJSON` throws its message as a string. */
  export function init(): Promise<{ toJSON(cue: string): string }>;
}
