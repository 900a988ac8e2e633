import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const program = join(import.meta.dirname, '..', '..', 'bin', 'chainloop.js');

/** Writes a program for the shell into a folder of tools; the answer is that folder, for PATH. */
async function tool(folder: string, name: string, text: string): Promise<string> {
  const tools = join(folder, 'tools');
  await mkdir(tools, { recursive: true });
  await writeFile(join(tools, name), `#!/bin/sh\n${text}`);
  await chmod(join(tools, name), 0o755);
  return tools;
}

/** `docker login`, and `docker buildx build` that pushes an image without layers to the registry and writes its metadata. */
export async function fakeDocker(folder: string, credentials?: { readonly username: string; readonly password: string }): Promise<string> {
  const basic = credentials && `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
  const script = `
const authorization = ${JSON.stringify(basic === undefined ? {} : { authorization: basic })};
const { createHash } = require('node:crypto');
const { writeFileSync } = require('node:fs');
const args = process.argv.slice(2);
const option = (name) => args[args.indexOf(name) + 1];
const digest = (bytes) => 'sha256:' + createHash('sha256').update(bytes).digest('hex');
(async () => {
  if (args[0] === 'login') return;
  const [, host, repository, tag] = /^([^/]+)\\/(.+):([^:]+)$/.exec(option('--tag'));
  const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } }));
  const begun = await fetch('http://' + host + '/v2/' + repository + '/blobs/uploads/', { method: 'POST', headers: authorization });
  const place = new URL(begun.headers.get('location'), 'http://' + host);
  place.searchParams.set('digest', digest(config));
  await fetch(place, { method: 'PUT', body: config, headers: { ...authorization, 'content-type': 'application/octet-stream' } });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType, config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digest(config), size: config.length }, layers: [] });
  const put = await fetch('http://' + host + '/v2/' + repository + '/manifests/' + tag, { method: 'PUT', body: manifest, headers: { ...authorization, 'content-type': mediaType } });
  if (!put.ok) throw new Error('push failed with ' + put.status);
  writeFileSync(option('--metadata-file'), JSON.stringify({ 'containerimage.digest': digest(manifest) }));
})();
`;
  await writeFile(join(folder, 'docker.cjs'), script);
  return tool(folder, 'docker', `exec '${process.execPath}' '${join(folder, 'docker.cjs')}' "$@"\n`);
}

/** `npx --yes chainloop@VERSION …`, with the command line of this checkout. */
export async function fakeNpx(folder: string): Promise<string> {
  return tool(folder, 'npx', `shift 2\nexec '${process.execPath}' '${program}' "$@"\n`);
}
