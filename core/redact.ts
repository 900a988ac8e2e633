/** Tokens of the control plane, and passwords in URLs: whatever message they come in, they do not go out. */
const secrets = /chl_[a-z]+_[A-Za-z0-9_-]+|(?<=:\/\/)[^/\s@]+(?=@)/g;

/** The text without what looks like a credential. The last of several nets: no message should carry one. Linear in its length. */
export function withoutSecrets(text: string): string {
  return text.replace(secrets, '[redacted]').replace(/[\w.-]{12,}/g, withoutToken);
}

/** Tokens of CI systems (JWT, RFC 7519) begin with `{"` in base64, and have dots. */
function withoutToken(run: string): string {
  const at = run.indexOf('eyJ');
  return at === -1 || !run.includes('.', at) ? run : `${run.slice(0, at)}[redacted]`;
}
