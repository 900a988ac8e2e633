import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { Issuer } from '../issuer.ts';
import { listen } from '../listen.ts';

/** The endpoint that a job with `id-token: write` asks for tokens: each job has its own request token, and its own claims. */
export type IdTokens = {
  readonly env: Readonly<Record<string, string>>;
  readonly requestToken: string;
  /** Every token that was given out. */
  readonly minted: readonly string[];
  [Symbol.asyncDispose](): Promise<void>;
};

export async function startIdTokens(issuer: Issuer, claims: Readonly<Record<string, unknown>>, failures = 0): Promise<IdTokens> {
  const requestToken = `request-${randomUUID()}`;
  const minted: string[] = [];
  let failing = failures;
  const server = createServer((request, response) => {
    const answer = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    if (request.headers.authorization !== `Bearer ${requestToken}`) return answer(401, { message: 'unauthorized' });
    if (failing-- > 0) return answer(503, { message: 'out of order' });
    const url = new URL(request.url ?? '/', 'http://localhost');
    const audience = url.searchParams.get('audience') ?? `https://github.com/${String(claims.repository_owner)}`;
    issuer.github({ audience, claims }).then(
      (value) => {
        minted.push(value);
        answer(200, { value });
      },
      () => answer(500, {}),
    );
  });
  const { origin, [Symbol.asyncDispose]: close } = await listen(server);
  return {
    env: {
      ACTIONS_ID_TOKEN_REQUEST_URL: `${origin}/idtoken/1/2?api-version=2.0`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: requestToken,
    },
    requestToken,
    minted,
    [Symbol.asyncDispose]: close,
  };
}
