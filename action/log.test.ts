import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseCommand } from '../test/fakes/actions-runner/commands.ts';
import { plainLine } from './log.ts';

test('S15: no text becomes a command to the runner', () => {
  const hostile = [
    '::set-output name=a::b',
    '  ::error::x',
    '\u200b::add-mask::x',
    'x ##[error]y',
    '##[command]z',
    'a\n::stop-commands::x',
    'a\r::set-env name=A::1',
    '\t::debug::x',
    '\u2028::debug::x',
  ];
  for (const text of hostile) {
    const line = plainLine(text);
    assert.equal(parseCommand(line), undefined, JSON.stringify(line));
    assert.doesNotMatch(line, /[\r\n]/);
  }
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('::', '##[', ' ', '\n', '\r', 'error', 'set-output name=a', ']', '\u00a0', '\ufeff', '\v', 'x')),
      (parts) => {
        assert.equal(parseCommand(plainLine(parts.join(''))), undefined);
      },
    ),
  );
});

test('an annotation cannot leave its own command', () => {
  const program = `import { annotate, say } from ${JSON.stringify(new URL('./log.ts', import.meta.url).href)};
annotate('error', 'a,b:c\\n::error::d', 'one\\n::set-output name=x::y\\r\\n100%0A::z');
say('one\\n::error::two');`;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { env: { PATH: process.env.PATH } });
  const lines = stdout.toString().trimEnd().split('\n');
  assert.equal(lines.length, 3, stdout.toString());
  const command = parseCommand(lines[0] ?? '');
  assert.equal(command?.name, 'error');
  assert.deepEqual(
    lines.slice(1).map((line) => parseCommand(line)),
    [undefined, undefined],
  );
});
