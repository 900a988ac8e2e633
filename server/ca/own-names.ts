/**
 * The path of a name beneath the control plane's own address, however it is spelled, or undefined: it is elsewhere. There it certifies its
 * service accounts, beneath `/organizations/`, and itself.
 */
export function ownPath(san: string, origin: string): string | undefined {
  const url = URL.parse(san);
  return url !== null && url.origin === new URL(origin).origin ? url.pathname : undefined;
}
