import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { cliReference } from './cli-reference.ts';

const root = new URL('..', import.meta.url);
const pages = globSync(['*.md', 'docs/*.md', 'gitlab-component/*.md', 'examples/**/*.{md,yml,yaml}', 'examples/jenkins/Jenkinsfile'], {
  cwd: root,
});

/** What is said of each command, by its words, the longest first; `chainloop run …` is short for `chainloop workflow run …`. */
async function commands(): Promise<readonly (readonly [string, string])[]> {
  const sections = (await cliReference()).split(/^### chainloop /m).slice(1);
  return sections
    .map((section) => [/^[a-z]+(?:[ -][a-z0-9]+)*/.exec(section)?.[0] ?? '', section] as const)
    .flatMap(([words, section]) => [[words, section] as const, [words.replace(/^workflow run\b/, 'run'), section] as const])
    .toSorted(([one], [other]) => other.length - one.length);
}

test('what the documents call is a command, and has the options that they give it', async () => {
  const known = await commands();
  const wrong: string[] = [];
  let calls = 0;
  for (const page of pages) {
    const text = readFileSync(new URL(page, root), 'utf8').replace(/\\\n\s*/g, '');
    for (const [, call = ''] of text.matchAll(/^\s*(?:\$ |- |[A-Z_]+=\S+ |npx )*chainloop ([a-z][^#|\n]*)/gm)) {
      const [, section] = known.find(([words]) => `${call.trim()} `.startsWith(`${words} `)) ?? [];
      calls++;
      if (section === undefined) wrong.push(`${page}: chainloop ${call}`);
      for (const [, option = ''] of call.matchAll(/(?<= )(--[a-z][a-z-]*)/g))
        if (section !== undefined && !section.includes(`${option} `) && !section.includes(`${option}\``))
          wrong.push(`${page}: ${option} in chainloop ${call}`);
    }
  }
  assert.ok(calls > 100, `${calls} calls were found`);
  assert.deepEqual(wrong, []);
});
