/** The code that the system or Node gave an error, such as ENOENT; undefined for what has none. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
