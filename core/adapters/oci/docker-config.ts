import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { ChainloopError } from '../../errors.ts';
import { jsonValue } from '../../json-value.ts';
import { limits } from '../../limits.ts';
import { systemCode } from '../../system-code.ts';
import type { Credentials } from './auth.ts';

type Environment = Readonly<Record<string, string | undefined>>;

const Entry = z.looseObject({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
});
const DockerConfig = z.looseObject({
  auths: z.record(z.string(), Entry).default({}),
  credHelpers: z.record(z.string(), z.string()).default({}),
  credsStore: z.string().optional(),
});
const HelperAnswer = z.looseObject({ Username: z.string(), Secret: z.string() });

/** Docker Hub's entry has the name of its first API. */
const dockerHubServer = 'https://index.docker.io/v1/';

/**
 * What `docker login` left for a registry: the helper named for it in `credHelpers`, else `credsStore`, else `auths`. Anonymous when there is
 * nothing. Throws USAGE for a broken file, or a helper that is missing, fails or takes too long; never shows what they hold.
 */
export async function dockerCredentials(registry: string, env: Environment): Promise<Credentials> {
  const path = join(env.DOCKER_CONFIG ?? join(env.HOME ?? homedir(), '.docker'), 'config.json');
  const config = await readConfig(path);
  if (config === undefined) return { type: 'anonymous' };
  const names = registry === 'docker.io' ? [dockerHubServer, 'docker.io', 'index.docker.io'] : [registry];

  const helper = names.map((name) => config.credHelpers[name]).find((name) => name !== undefined) ?? config.credsStore;
  if (helper !== undefined && helper !== '') {
    const found = await askHelper(helper, names[0] ?? registry, env);
    if (found !== undefined) return found;
  }
  // Older versions of Docker wrote URLs.
  const keys = names.flatMap((name) => [name, `https://${name}`, `https://${name}/`, `https://${name}/v1/`, `https://${name}/v2/`]);
  const entry = keys.map((key) => config.auths[key]).find((one) => one !== undefined);
  return entry === undefined ? { type: 'anonymous' } : credentialsOf(entry, path, registry);
}

async function readConfig(path: string): Promise<z.infer<typeof DockerConfig> | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new ChainloopError('FILE_UNREADABLE', `Docker configuration ${path}: it cannot be read`, { cause: error });
  }
  if (text.length > limits.dockerConfigSizeBytes)
    throw new ChainloopError('LIMIT_EXCEEDED', `Docker configuration ${path}: it is larger than ${limits.dockerConfigSizeBytes} bytes`);
  const parsed = DockerConfig.safeParse(jsonValue(text));
  // The parser's own message could quote the file.
  if (!parsed.success) throw new ChainloopError('USAGE', `Docker configuration ${path}: it is not valid; repair it, or log in again`);
  return parsed.data;
}

function credentialsOf(entry: z.infer<typeof Entry>, path: string, registry: string): Credentials {
  if (entry.identitytoken !== undefined && entry.identitytoken !== '') return { type: 'identity', token: entry.identitytoken };
  if (entry.registrytoken !== undefined && entry.registrytoken !== '') return { type: 'bearer', token: entry.registrytoken };
  if (entry.auth !== undefined && entry.auth !== '') {
    const decoded = Buffer.from(entry.auth, 'base64').toString('utf8').replace(/\0+$/, '');
    const colon = decoded.indexOf(':');
    if (colon < 1)
      throw new ChainloopError(
        'USAGE',
        `Docker configuration ${path}: the entry of ${registry} is not valid; run: docker login ${registry}`,
      );
    return { type: 'basic', username: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
  }
  if (entry.username === undefined || entry.password === undefined) return { type: 'anonymous' };
  return { type: 'basic', username: entry.username, password: entry.password };
}

/** Runs `docker-credential-<name> get` (docker/docker-credential-helpers, "Development"). Undefined: it knows nothing of the server. */
async function askHelper(name: string, server: string, env: Environment): Promise<Credentials | undefined> {
  if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(name))
    throw new ChainloopError(
      'USAGE',
      'Docker configuration: the name of a credential helper may have lower-case letters, digits and dashes only',
    );
  const program = `docker-credential-${name}`;
  const { code, stdout } = await run(program, server, env);
  if (code !== 0) {
    // The helpers say so on stdout, in these words.
    if (/credentials not found|no credentials/i.test(stdout)) return undefined;
    throw new ChainloopError('USAGE', `${program} get failed for ${server} (exit ${code}); try: echo ${server} | ${program} get`);
  }
  const answer = HelperAnswer.safeParse(jsonValue(stdout));
  if (!answer.success) throw new ChainloopError('USAGE', `${program} get gave no credentials for ${server}; log in again`);
  const { Username: username, Secret: password } = answer.data;
  if (username === '<token>') return { type: 'identity', token: password };
  return username === '' && password === '' ? undefined : { type: 'basic', username, password };
}

function run(program: string, input: string, env: Environment): Promise<{ code: number | null; stdout: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, ['get'], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...env },
      // Not `timeout`: its timer outlives a program that could not be started.
      signal: AbortSignal.timeout(limits.credentialHelperTimeoutMs),
      killSignal: 'SIGKILL',
    });
    const pieces: Buffer[] = [];
    let sizeBytes = 0;
    child.stdout.on('data', (piece: Buffer) => {
      sizeBytes += piece.byteLength;
      if (sizeBytes > limits.dockerConfigSizeBytes) child.kill('SIGKILL');
      else pieces.push(piece);
    });
    child.once('error', (cause) => {
      const problem =
        cause.name === 'AbortError'
          ? `did not answer within ${limits.credentialHelperTimeoutMs / 1000} s; does it ask for something?`
          : 'cannot be run: install it, or remove it from the Docker configuration';
      reject(new ChainloopError('USAGE', `${program} ${problem}`, { cause }));
    });
    child.once('close', (code) => resolve({ code, stdout: Buffer.concat(pieces).toString('utf8') }));
    // A helper that does not read its input is no error.
    child.stdin.on('error', () => {});
    child.stdin.end(`${input}\n`);
  });
}
