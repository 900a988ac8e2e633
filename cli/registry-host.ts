/** True for a reference that begins with its registry, as `docker.io/library/alpine`: a host with a dot or a port, or `localhost`. No path. */
export function namesRegistry(text: string): boolean {
  const slash = text.indexOf('/');
  const host = text.slice(0, Math.max(slash, 0));
  if (host === '.' || host === '..' || slash === text.length - 1) return false;
  return host === 'localhost' || host.includes('.') || host.includes(':');
}
