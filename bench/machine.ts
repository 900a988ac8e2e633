import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, platform, release, totalmem } from 'node:os';
import { pgbench } from './context.ts';

/** What it runs on, and beside what: nothing that names the machine or its user. */
export function machine(): readonly (readonly [string, string])[] {
  const peers = [
    ['PostgreSQL', pgbench() ?? '', '--version'],
    ['docker-registry', 'docker-registry', '--version'],
    ['skopeo', 'skopeo', '--version'],
    ['OpenSSL', 'openssl', 'version'],
    ['curl', 'curl', '--version'],
    ['in-toto', 'in-toto-run', '--version'],
    ['gh', 'gh', '--version'],
  ] as const;
  return [
    ['processor', `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'unknown'}`],
    ['memory', `${Math.round(totalmem() / 1024 ** 3)} GiB`],
    ['system', `${distribution()}, ${platform()} ${/^[\d.]+/.exec(release())?.[0]}`],
    ['load when it began', `${loadavg()[0]?.toFixed(1)}, where ${cpus().length} is all that the processors can do`],
    ['Node', process.version.slice(1)],
    ...peers.map(([name, program, word]) => [name, versionOf(program, word)] as const),
  ];
}

function versionOf(program: string, word: string): string {
  const { stdout, status } = spawnSync(program, [word], { encoding: 'utf8' });
  return (status === 0 ? /\d+(\.\d+)+/.exec(stdout)?.[0] : undefined) ?? 'not installed';
}

/** os-release(5). */
function distribution(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? platform();
  } catch {
    return platform();
  }
}
