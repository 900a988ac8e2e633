import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isChainloopError } from '../../core/errors.ts';
import { keyAddresses, parseIssuers, readIssuers } from './issuers.ts';

test('without a file the issuers are those of GitHub and GitLab on the internet', async () => {
  assert.deepEqual(
    [...(await readIssuers(undefined)).values()].map(({ issuer, kind, serverUrl }) => [issuer, kind, serverUrl]),
    [
      ['https://token.actions.githubusercontent.com', 'github', 'https://github.com'],
      ['https://gitlab.com', 'gitlab', 'https://gitlab.com'],
    ],
  );
});

test('where the repositories are follows from the issuer, unless the file says it', () => {
  const rows = [
    ['https://token.actions.githubusercontent.com/acme', 'github', 'https://github.com'],
    ['https://token.actions.acme.ghe.com', 'github', 'https://acme.ghe.com'],
    ['https://github.example.com/_services/token', 'github', 'https://github.example.com'],
    ['https://gitlab.example.com/gitlab', 'gitlab', 'https://gitlab.example.com/gitlab'],
  ] as const;
  for (const [issuer, kind, serverUrl] of rows) {
    assert.equal(parseIssuers(JSON.stringify({ issuers: [{ issuer, kind }] }), 'json').get(issuer)?.serverUrl, serverUrl);
  }
});

test('an issuer of a form that is not known certifies nothing below github.com: the file must say where its repositories are', () => {
  const rows = [
    ['https://ci.evil.example', 'github'],
    ['https://token.actions.githubusercontent.com.evil.example', 'github'],
    ['https://token.actions.githubusercontent.com:8443', 'github'],
    ['https://token.actions.x.y.ghe.com', 'github'],
    ['http://127.0.0.1:1234', 'github'],
    ['http://127.0.0.1:1234', 'gitlab'],
  ] as const;
  for (const [issuer, kind] of rows) {
    const entry = { issuer, kind, allowInsecure: true };
    assert.throws(
      () => parseIssuers(JSON.stringify({ issuers: [entry] }), 'json'),
      (error) => isChainloopError(error, 'USAGE') && error.problems.some(({ path }) => path === 'issuers[0].serverUrl'),
      issuer,
    );
    const said = JSON.stringify({ issuers: [{ ...entry, serverUrl: 'https://git.example.com' }] });
    assert.equal(parseIssuers(said, 'json').get(issuer)?.serverUrl, 'https://git.example.com');
  }
});

test('server-side request forgery by name resolution: keys never come from a metadata service, nor from the own network unless the operator lists issuers', () => {
  const asked = (own: boolean) =>
    [
      '169.254.169.254',
      '100.100.100.200',
      'fd00:ec2::254',
      '::ffff:169.254.169.254',
      '0.0.0.0',
      '10.0.0.1',
      '127.0.0.1',
      '140.82.112.3',
    ].filter(keyAddresses({ own }));
  assert.deepEqual(asked(false), ['140.82.112.3']);
  assert.deepEqual(asked(true), ['10.0.0.1', '127.0.0.1', '140.82.112.3']);
});

test('plain http is for loopback alone, and only when the file says so; all problems at once', () => {
  const refused = [
    { issuer: 'http://gitlab.example.com', kind: 'gitlab', serverUrl: 'https://gitlab.example.com' },
    { issuer: 'http://gitlab.example.com:80', kind: 'gitlab', serverUrl: 'https://gitlab.example.com', allowInsecure: true },
    { issuer: 'http://127.0.0.1:1234', kind: 'github', serverUrl: 'https://github.com' },
    { issuer: 'https://user:CANARY@gitlab.example.com', kind: 'gitlab' },
    { issuer: 'https://gitlab.example.com/', kind: 'gitlab' },
    { issuer: 'https://a.example.com', kind: 'gitlab', jwksUri: 'http://169.254.169.254/keys', allowInsecure: true },
  ];
  for (const entry of refused) {
    assert.throws(
      () => parseIssuers(JSON.stringify({ issuers: [entry] }), 'json'),
      (error) => isChainloopError(error, 'USAGE') && error.problems.length === 1,
      JSON.stringify(entry),
    );
  }
  const good = { issuer: 'http://127.0.0.1:1234', kind: 'github', serverUrl: 'https://github.com', allowInsecure: true };
  assert.equal(parseIssuers(JSON.stringify({ issuers: [good] }), 'json').size, 1);
  assert.throws(
    () =>
      parseIssuers(
        JSON.stringify({ issuers: [good, good, { issuer: 'http://x.example', kind: 'github', serverUrl: 'https://github.com' }] }),
        'json',
      ),
    (error) => isChainloopError(error, 'USAGE') && error.problems.length === 2,
  );
});

test('a file that is not there is said so', async () => {
  await assert.rejects(
    readIssuers('/nowhere/issuers.yaml'),
    (error) => isChainloopError(error, 'USAGE') && /--issuers/.test(error.message),
  );
});
