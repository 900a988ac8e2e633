#!/usr/bin/env node
// Plain JavaScript that old versions of Node read too: it finds a Node that can run the rest.

const needed = 24;
// An import of node:fs takes 2 ms longer, and starting must be quick.
const { existsSync, readFileSync } = process.getBuiltinModule?.('node:fs') ?? (await import('node:fs'));

if (process.argv.length === 3 && process.argv[2] === '--version') {
  process.stdout.write(`${JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version}\n`);
} else if (Number(process.versions.node.split('.')[0]) < needed) {
  await runWith(await installedNode());
} else {
  endWithParent();
  // A checkout runs its sources; the package carries a bundle.
  const sources = new URL('../cli/main.ts', import.meta.url);
  const { main } = await import(existsSync(sources) ? sources.href : new URL('../dist/cli.js', import.meta.url).href);
  process.exitCode = await main(process.argv.slice(2));
}

/** Behind an older Node (runWith) this process ends with that one: it may have been killed, and whoever did it knows of no other. */
function endWithParent() {
  if (process.env.CHAINLOOP_BEHIND !== '1') return;
  delete process.env.CHAINLOOP_BEHIND;
  if (process.channel === undefined) return;
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.channel.unref();
}

/** The Node that npm installed beside this package, or undefined. */
async function installedNode() {
  const { createRequire } = await import('node:module');
  const windows = process.platform === 'win32';
  try {
    const require = createRequire(import.meta.url);
    const description = require.resolve(`node-${windows ? 'win' : process.platform}-${process.arch}/package.json`);
    if (Number(require(description).version.split('.')[0]) < needed) return undefined;
    const { dirname, join } = await import('node:path');
    const program = join(dirname(description), 'bin', windows ? 'node.exe' : 'node');
    return existsSync(program) ? program : undefined;
  } catch {
    return undefined;
  }
}

/** Runs this same command with that program, passing signals on, and ends as it ends. */
async function runWith(program) {
  if (program === undefined) {
    process.stderr.write(`ERR Node ${needed} or newer is needed, this is ${process.version}; install it from https://nodejs.org\n`);
    process.exitCode = 2;
    return;
  }
  const { spawn } = await import('node:child_process');
  // The channel tells the child when this process is gone, however it ended.
  const stdio = ['inherit', 'inherit', 'inherit', 'ipc'];
  const child = spawn(program, process.argv.slice(1), { stdio, env: { ...process.env, CHAINLOOP_BEHIND: '1' } });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`ERR ${program} cannot be started: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    for (const name of signals) process.removeAllListeners(name);
    if (signal === null) process.exitCode = code ?? 1;
    else process.kill(process.pid, signal);
  });
}
