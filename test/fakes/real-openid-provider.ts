import { createServer, type RequestListener } from 'node:http';
import { Provider } from 'oidc-provider';
import { listen } from './listen.ts';

/** A real OpenID provider (oidc-provider) on loopback: whoever types a name and a password is that person. */
export type RealOpenidProvider = {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Registers the client, whose address is known only now. */
  register(controlPlane: string): void;
  [Symbol.asyncDispose](): Promise<void>;
};

export async function startRealOpenidProvider(): Promise<RealOpenidProvider> {
  let answer: RequestListener = (_, response) => response.writeHead(503).end();
  const listening = await listen(createServer((request, response) => answer(request, response)));
  const issuer = listening.origin;
  const [clientId, clientSecret] = ['chainloop', 'the-secret-of-the-client'];
  return {
    issuer,
    clientId,
    clientSecret,
    register(controlPlane) {
      const provider = new Provider(issuer, {
        clients: [
          {
            client_id: clientId,
            client_secret: clientSecret,
            redirect_uris: [`${controlPlane}/login/callback`],
            grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
          },
        ],
        claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
        features: { deviceFlow: { enabled: true } },
        pkce: { required: () => true },
        cookies: { keys: ['of a test'] },
        findAccount: (_: unknown, sub: string) => ({
          accountId: sub,
          claims: () => ({ sub, name: sub, email: `${sub}@example.com`, email_verified: true }),
        }),
      });
      answer = provider.callback();
    },
    [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
  };
}

/** A person without a browser: keeps cookies, follows redirects, and sends the one form of each page. */
export function createPerson(typed: Readonly<Record<string, string>>) {
  const cookies = new Map<string, string>();

  async function ask(url: URL, body?: URLSearchParams): Promise<{ readonly url: URL; readonly page: string }> {
    const cookie = Array.from(cookies, ([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { redirect: 'manual', headers: { cookie }, ...(body && { method: 'POST', body }) });
    for (const line of response.headers.getSetCookie()) {
      const [name = '', value = ''] = line.split(';', 1).join().split('=', 2);
      cookies.set(name, value);
    }
    const location = response.headers.get('location');
    const page = await response.text();
    return location === null ? { url, page } : ask(new URL(location, url));
  }

  return {
    /** From that page on until one has no form: its text. At most ten. */
    async walk(address: string): Promise<string> {
      let at = await ask(new URL(address));
      for (let step = 0; step < 10; step++) {
        const form = /<form[^>]*action="([^"]*)"[^>]*>([\s\S]*?)<\/form>/.exec(at.page);
        if (form === null) return at.page;
        const fields = Array.from((form[2] ?? '').matchAll(/<input[^>]*>/g), ([input]): [string, string] => {
          const [, name = ''] = /name="([^"]*)"/.exec(input) ?? [];
          const [, value = ''] = /value="([^"]*)"/.exec(input) ?? [];
          return [name, typed[name] ?? value];
        });
        at = await ask(new URL((form[1] ?? '').replaceAll('&amp;', '&'), at.url), new URLSearchParams(fields));
      }
      throw new Error(`more forms than a login has: ${at.page}`);
    },
  };
}
