/**
 * Where links to a run lead: CI systems show them to people. Says how the run is read, and nothing of any run: whoever opens it may be anybody,
 * and the same page comes for runs that there never were.
 */
export function runPage(id: string): Response {
  const html = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>Chainloop run ${id}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:4rem auto;padding:0 1rem}pre{overflow:auto;padding:1rem;border:1px solid #8886;border-radius:.4rem}</style>
<h1>Run</h1>
<p>Members of its organization read what was attested, by whom, and whether it verifies:</p>
<pre><code>chainloop workflow run describe --id ${id}</code></pre>
<p>The signed bundle, which verifies offline:</p>
<pre><code>chainloop workflow run describe --id ${id} --output attestation &gt; attestation.sigstore.json</code></pre>
<p>What the control plane signed about it, for a release gate: a verification summary (SLSA VSA), and provenance where its CI system proved it:</p>
<pre><code>chainloop workflow run describe --id ${id} --output vsa &gt; vsa.sigstore.json
chainloop workflow run describe --id ${id} --output provenance &gt; provenance.sigstore.json</code></pre>
<p>Its evidence, its commit, and how to go on to other runs with the same:</p>
<pre><code>chainloop discover ${id}</code></pre>
</html>
`;
  return new Response(html, {
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy':
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      'referrer-policy': 'no-referrer',
      'cache-control': 'public, max-age=3600',
    },
  });
}
