import type { Login } from './login.ts';

/**
 * Where a provider sends a browser back to: one address for all, which an administrator registers there. From here the browser goes to the
 * command line that waits for it, on the browser's own machine, at the port that the sealed state says: nowhere else, whoever asks. The code
 * is good for nothing without the handle that the command line has (RFC 7636).
 */
export function relayLogin(login: Login | undefined, address: string): Response {
  const target = login?.relay(new URL(address).searchParams);
  const headers = { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' };
  if (target !== undefined) return new Response(null, { status: 302, headers: { ...headers, location: target } });
  const text = 'This is no login that was begun here, or it took longer than 10 minutes. Begin again with: chainloop auth login\n';
  return new Response(text, { status: 400, headers: { ...headers, 'content-type': 'text/plain; charset=utf-8' } });
}
