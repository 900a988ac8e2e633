import { ChainloopError } from './errors.ts';

/** Whose certificate is believed. There are no patterns: an expression without anchors accepts `acme/app-evil` for `acme/app`. */
export type IdentityMatch = { readonly exact: string } | { readonly prefix: string };

/** The origin and the beginning of a path at least: a shorter prefix would be of anybody. */
const prefixForm = /^https?:\/\/[^/?#@\s]+\/[\x21-\x2e\x30-\x7e][\x21-\x7e]*$/;

/**
 * Compares the identity of a certificate (its subject alternative name), byte for byte. A prefix ends at a boundary: it ends with `/`, or
 * the identity ends there or goes on with one, so that `…/acme/app` is not `…/acme/app-evil`, nor `…@refs/heads/main` any `main-evil`; or
 * the `@` of a ref or commit comes there, so that `…/release.yml` is not the file `release.yml@x.yml`. Only behind `@refs/tags/` it is plain
 * text: `…@refs/tags/v` is any v. USAGE for a prefix that names no host and path.
 */
export function matchesIdentity(identity: string, match: IdentityMatch): boolean {
  if ('exact' in match) return match.exact !== '' && identity === match.exact;
  const { prefix } = match;
  if (!prefixForm.test(prefix)) {
    throw new ChainloopError(
      'USAGE',
      `identity: the prefix '${prefix.slice(0, 200)}' must be a URL with host and path, such as https://github.com/acme/app/`,
    );
  }
  if (!identity.startsWith(prefix)) return false;
  // What a server would resolve to another place is not beneath the prefix.
  if (/(^|[/\\])\.{1,2}([/\\]|$)|\\|%2[ef]|%5c/i.test(identity.slice(identity.indexOf('//') + 2))) return false;
  const rest = identity.slice(prefix.length);
  // The prefix says where the ref begins, so none may begin later: that would be a folder that is called like a ref.
  const hasRef = prefix.includes('@refs/');
  if (hasRef && rest.includes('@refs/')) return false;
  if (rest === '' || prefix.endsWith('/') || rest.startsWith('/') || prefix.includes('@refs/tags/')) return true;
  const reference = prefix.endsWith('@') ? rest : rest.startsWith('@') ? rest.slice(1) : '';
  return !hasRef && /^(refs\/.|[0-9a-f]{40}$|[0-9a-f]{64}$)/.test(reference);
}

/**
 * Refuses what no certificate could ever match, before it is trusted: an issuer that is no URL, an exact identity that is neither URL nor
 * e-mail address, and a `*`, which here stands for itself. USAGE.
 */
export function refuseUnmatchable(issuer: string, match: IdentityMatch): void {
  if (!/^https?:\/\//.test(issuer) || !URL.canParse(issuer)) {
    throw unmatchable(`the issuer '${issuer.slice(0, 200)}' must be a URL, such as https://token.actions.githubusercontent.com`);
  }
  const text = 'exact' in match ? match.exact : match.prefix;
  if (text.includes('*')) {
    throw unmatchable(`'${text.slice(0, 200)}' has a *, but identities are no patterns; trust what is beneath a prefix, up to the *`);
  }
  if ('prefix' in match) matchesIdentity('', match);
  else if (!URL.canParse(text) && !/^[^\s@]+@[^\s@]+$/.test(text)) {
    throw unmatchable(`'${text.slice(0, 200)}' must be a URL or an e-mail address: the subject alternative name of a certificate`);
  }
}

function unmatchable(what: string): ChainloopError {
  return new ChainloopError('USAGE', `identity: ${what}`);
}
