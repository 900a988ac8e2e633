import { ChainloopError } from '../core/errors.ts';
import { type Command, command, type Group, longName } from './command.ts';

const shells = ['bash', 'zsh', 'fish'] as const;

export const completion = command({
  name: 'completion',
  about: 'print a completion script',
  examples: [
    'source <(chainloop completion bash)',
    'chainloop completion zsh > ~/.zfunc/_chainloop',
    'chainloop completion fish > ~/.config/fish/completions/chainloop.fish',
  ],
  flags: {},
  operands: [`<${shells.join('|')}>`],
  outputs: ['table'],
  run: async (context, _, [shell]) => {
    const { nouns } = await import('./main.ts');
    const loaded = await Promise.all(nouns.map(async ({ alias, load }) => ({ alias, node: await load() })));
    const words = new Map<string, readonly string[]>();
    words.set('', [...loaded.flatMap(({ alias, node }) => [node.name, ...(alias === undefined ? [] : [alias])]), ...globals]);
    for (const { alias, node } of loaded) {
      collect(words, node, node.name);
      if (alias !== undefined) collect(words, node, alias);
    }
    context.stdout.write(scriptFor(shell, words));
  },
});

const globals = ['--output', '--url', '--organization', '--help'];

/** For each path of commands, what can stand behind it. The words are our own: letters and dashes. */
function collect(words: Map<string, readonly string[]>, node: Command | Group, path: string): void {
  const flags = node.type === 'command' ? Object.keys(node.flags).map((key) => `--${longName(key)}`) : [];
  words.set(path, [...new Set([...node.commands.map(({ name }) => name), ...flags, ...globals])]);
  for (const child of node.commands) collect(words, child, `${path} ${child.name}`);
}

function scriptFor(shell: string | undefined, words: ReadonlyMap<string, readonly string[]>): string {
  switch (shell) {
    case 'bash':
      return bash(words);
    case 'zsh':
      return `#compdef chainloop\nautoload -U +X bashcompinit && bashcompinit\n${bash(words)}`;
    case 'fish':
      return fish(words);
    default:
      throw new ChainloopError('USAGE', `completion: '${shell}' is not one of ${shells.join(', ')}`);
  }
}

/** Walks the words before the cursor as far as they are commands; behind an option with a value, files are completed. */
function bash(words: ReadonlyMap<string, readonly string[]>): string {
  const cases = Array.from(words, ([path, next]) => `    '${path}') words='${next.join(' ')}' ;;\n`).join('');
  return `_chainloop_words() {
  case "$1" in
${cases}    *) return 1 ;;
  esac
}
_chainloop() {
  local words='' path='' word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if _chainloop_words "\${path:+$path }$word"; then path="\${path:+$path }$word"; fi
  done
  _chainloop_words "$path"
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _chainloop chainloop
`;
}

function fish(words: ReadonlyMap<string, readonly string[]>): string {
  const cases = Array.from(words, ([path, next]) => `    case '${path}'\n      printf '%s\\n' ${next.join(' ')}\n`).join('');
  return `function __chainloop_words
  switch "$argv"
${cases}    case '*'
      return 1
  end
end
function __chainloop_complete
  set -l path
  for word in (commandline -opc)[2..]
    if __chainloop_words $path $word >/dev/null
      set path $path $word
    end
  end
  __chainloop_words $path
end
complete -c chainloop -a '(__chainloop_complete)'
`;
}
