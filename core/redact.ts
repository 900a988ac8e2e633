/** Tokens of the control plane, tokens of CI systems (JWS, compact), and passwords in URLs: whatever message they come in, they do not go out. */
const secrets = /chl_[a-z]+_[A-Za-z0-9_-]+|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+|(?<=:\/\/)[^/\s@]+(?=@)/g;

/** The text without what looks like a credential. The last of several nets: no message should carry one. */
export function withoutSecrets(text: string): string {
  return text.replace(secrets, '[redacted]');
}
