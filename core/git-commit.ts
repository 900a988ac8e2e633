import type { GitHead } from './crafting.ts';
import { limits } from './limits.ts';
import { printable } from './source/place.ts';

/**
 * The commit in an answer of `git cat-file --batch`: `<id> commit <size>`, a line break, and the object (Git, "commit object format"):
 * headers, an empty line, the message. Undefined for any other answer, such as `HEAD^{commit} missing`.
 */
export function commitFrom(answer: Buffer): Omit<GitHead, 'remotes'> | undefined {
  const text = answer.toString('utf8');
  const [, commit] = /^([0-9a-f]{40}|[0-9a-f]{64}) commit \d+\n/.exec(text) ?? [];
  if (commit === undefined) return undefined;
  const body = text.slice(text.indexOf('\n') + 1);
  const end = body.indexOf('\n\n');
  const headers = end === -1 ? body : body.slice(0, end);
  const parents = [...headers.matchAll(/^parent ([0-9a-f]+)$/gm)].flatMap(([, id]) => (id === undefined ? [] : [id]));
  const [, name, email, seconds] = /^author ([^<\n]*) <([^>\n]*)> (\d{1,11}) [-+]\d{4}$/m.exec(headers) ?? [];
  const message = end === -1 ? undefined : label(body.slice(end + 2).split('\n', 1)[0]);
  const authorName = label(name);
  const authorEmail = label(email);
  return {
    commit,
    ...(authorName === undefined ? {} : { authorName }),
    ...(authorEmail === undefined ? {} : { authorEmail }),
    ...(seconds === undefined ? {} : { date: new Date(Number(seconds) * 1000).toISOString() }),
    ...(message === undefined ? {} : { message }),
    ...(parents.length > 1 ? { parents: parents.slice(0, 64) } : {}),
  };
}

/**
 * A remote as it may be published: https, http, ssh and git URLs and `user@host:path`, without passwords, tokens, query and fragment.
 * Undefined for all else: a local path says nothing elsewhere, and a helper (`ext::…`) is a command.
 */
export function remoteUrl(text: string): string | undefined {
  if (text.length > 2048) return undefined;
  const [, user, host, path] = /^(?:([^/@:]+)@)?([-.\w]{2,}|\[[0-9a-f:]+\]):(?!\/\/|:)([^?#\s]+)$/i.exec(text) ?? [];
  if (host !== undefined && path !== undefined) return `${user === 'git' ? 'git@' : ''}${host}:${path}`;
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  if (!['https:', 'http:', 'ssh:', 'git:'].includes(url.protocol)) return undefined;
  // The user `git` is part of an address of ssh; any other may be a token.
  const login = url.protocol === 'ssh:' && url.username === 'git' ? 'git@' : '';
  return `${url.protocol}//${login}${url.host}${url.pathname}`;
}

function label(text: string | undefined): string | undefined {
  const clean = printable(text?.trim() ?? '', limits.textLength - 1);
  // The cut may have gone through a surrogate pair.
  return clean === '' ? undefined : clean.toWellFormed();
}
