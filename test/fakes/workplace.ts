import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Api } from '../../client/api.ts';
import { generateKeyPair } from '../../core/adapters/keys.ts';
import { commandLine, type Ended } from './command-line.ts';
import { type ControlPlane, type ControlPlaneOptions, startControlPlane } from './control-plane.ts';

/**
 * A control plane with the organization `acme`, its workflow `release` of project `bedrock` and a trusted key; and the command lines of its
 * operator and of its CI job, which share a folder with `release.key` and `release.pub`.
 */
export type Workplace = {
  readonly plane: ControlPlane;
  readonly api: Api;
  readonly operatorToken: string;
  readonly jobToken: string;
  readonly line: Awaited<ReturnType<typeof commandLine>>;
  /** The environments of both; the line alone has the URL and nobody's token. */
  readonly operator: NodeJS.ProcessEnv;
  readonly job: NodeJS.ProcessEnv;
  write(name: string, content: string | Uint8Array): Promise<string>;
  [Symbol.asyncDispose](): Promise<void>;
};

export async function startWorkplace(options: ControlPlaneOptions & { readonly contract: string }): Promise<Workplace> {
  await using stack = new AsyncDisposableStack();
  const plane = stack.use(await startControlPlane(options));
  const { api, token: operatorToken } = await plane.createOrganization('acme');
  await api.contract.create.mutate({ name: 'release', format: 'yaml', body: options.contract });
  const jobToken = await plane.createServiceAccount(api, { workflow: 'release', project: 'bedrock', contract: 'release' });
  const keys = await generateKeyPair();
  await api.key.trust.mutate({ name: 'release', pem: keys.publicKeyPem });
  const line = stack.use(await commandLine({ CHAINLOOP_URL: plane.url }));
  const write = async (name: string, content: string | Uint8Array): Promise<string> => {
    const path = join(line.folder, name);
    await writeFile(path, content);
    return path;
  };
  const key = await write('release.key', keys.privateKeyPem);
  await write('release.pub', keys.publicKeyPem);
  const resources = stack.move();
  return {
    ...{ plane, api, operatorToken, jobToken, line, write },
    operator: { CHAINLOOP_TOKEN: operatorToken },
    job: { CHAINLOOP_TOKEN: jobToken, CHAINLOOP_SIGNING_KEY: key },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** Everything below a folder, by its path: to see that nothing was changed. */
export async function snapshot(folder: string): Promise<Readonly<Record<string, string>>> {
  const found: Record<string, string> = {};
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) found[path] = await readFile(path, 'base64');
  }
  return found;
}

/** A command that did what it should: its standard output. */
export function succeeded({ code, stdout, stderr }: Ended): string {
  assert.equal(code, 0, stderr);
  return stdout;
}

/** A refusal as a person can use it: this exit code, one error on stderr that says all of this, no stack, and nothing on stdout. */
export function refused(ended: Ended, code: number, ...says: readonly RegExp[]): void {
  const shown = `exit ${ended.code}, stdout: ${ended.stdout}\nstderr: ${ended.stderr}`;
  assert.equal(ended.code, code, shown);
  assert.equal(ended.stdout, '', shown);
  assert.equal(ended.stderr.match(/^ERR /gm)?.length, 1, shown);
  assert.doesNotMatch(ended.stderr, /^\s+at |unexpected:|\bundefined\b|\[object/m, shown);
  for (const words of says) assert.match(ended.stderr, words, shown);
}
