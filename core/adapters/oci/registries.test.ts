import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { apiHostOf, passwordHours, registries, registryKind, tokenHostOf, usernameProblem } from './registries.ts';

const guide = readFileSync(new URL('../../../docs/storage.md', import.meta.url), 'utf8');

test('docs/storage.md has every registry, with what is known of it', () => {
  const [, , ...rows] = Array.from(guide.matchAll(/^\| ([^|]+) \| ([^|]+) \|$/gm), ([, ...cells]) => cells);
  assert.deepEqual(
    rows,
    registries.map(({ name, login, shortLived }) => [
      name,
      `${login.replaceAll("'", '`')}${shortLived === undefined ? '' : ` (${shortLived.hours} h with \`${shortLived.username}\`)`}`,
    ]),
  );
});

test('a registry is known by its host, and a look-alike is not', () => {
  for (const [host, name] of [
    ['docker.io', 'Docker Hub'],
    ['registry-1.docker.io', 'Docker Hub'],
    ['ghcr.io', 'GitHub (ghcr.io)'],
    ['123456789012.dkr.ecr.eu-central-1.amazonaws.com', 'Amazon ECR'],
    ['europe-west3-docker.pkg.dev', 'Google Artifact Registry'],
    ['acme.azurecr.io', 'Azure Container Registry'],
  ] as const)
    assert.equal(registryKind(host)?.name, name, host);
  for (const host of [
    'ghcr.io.example.com',
    'evil-ghcr.io',
    '123456789012.dkr.ecr.eu-central-1.amazonaws.com.example.com',
    'docker.pkg.dev.example.com',
    'harbor.example.com',
    'acme.azurecr.io:8443',
  ])
    assert.equal(registryKind(host), undefined, host);
});

test('every fact has its source', () => {
  for (const { name, sources } of registries) {
    assert.ok(sources.length > 0, name);
    for (const source of sources) assert.match(source, /^https:\/\//, name);
  }
});

test('where the API and the tokens are is known of the few that have them elsewhere, and of nobody else', () => {
  assert.deepEqual(['docker.io', 'ghcr.io', 'harbor.example.com'].map(apiHostOf), [
    'registry-1.docker.io',
    'ghcr.io',
    'harbor.example.com',
  ]);
  assert.equal(tokenHostOf('registry-1.docker.io'), 'auth.docker.io');
  assert.equal(tokenHostOf('registry.gitlab.com'), 'gitlab.com');
  assert.equal(tokenHostOf('docker.elastic.co'), 'docker-auth.elastic.co');
  for (const host of ['ghcr.io', 'harbor.example.com', '__proto__', 'constructor']) assert.equal(tokenHostOf(host), undefined, host);
});

test('a name that a registry cannot take is refused with what to give, and short lives are known', () => {
  const ecr = '123456789012.dkr.ecr.eu-central-1.amazonaws.com';
  assert.match(
    usernameProblem(ecr, 'robot') ?? '',
    /Amazon ECR takes no user of that name; give AWS, and what 'aws ecr get-login-password'/,
  );
  assert.equal(usernameProblem(ecr, 'AWS'), undefined);
  assert.equal(usernameProblem('harbor.example.com', 'robot$acme'), undefined);
  assert.deepEqual(
    [passwordHours(ecr, 'AWS'), passwordHours('europe-west3-docker.pkg.dev', '_json_key'), passwordHours('harbor.example.com', 'AWS')],
    [12, undefined, undefined],
  );
});
