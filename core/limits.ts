/** Every limit of the product, with its unit in the name and its reason beside it. */
export const limits = {
  /** A contract: a person writes it. Checked before parsing; the YAML parser needs 9 s for 5 MB. */
  contractSizeBytes: 256 * 1024,
  /** Nesting of YAML and JSON, found by a scan before parsing: recursion ends the process long before memory does. */
  nestingDepth: 64,
  /** Problems in one answer: 200,000 of them would make 34 MB of text. */
  problems: 20,
  /** Values (maps, lists, scalars) of one contract, an alias counting as what it stands for: 500 full materials are 6,000. */
  contractValues: 10_000,
  /** Materials of one contract. */
  contractMaterials: 500,
  /** Variables of one contract. */
  contractEnvVars: 200,
  /** A row of the audit log as text: its details have 4 KiB at most, of which an escape makes six times as much. */
  auditLineLength: 32 * 1024,
  /** Rows of the audit log in one answer of an export: about 250 kB. */
  auditExportRows: 500,
  /** The same refusal of the same credential is in the audit log once in this time, on each server. */
  refusalEveryMs: 60 * 60 * 1000,
  /** Refusals in the audit log in that time of the credentials of one organization, or of one person, on each server. */
  refusals: 1_000,
  /** Annotations of one contract or material. */
  annotations: 50,
  /** A name: of an organization, project, workflow, contract, token. DNS label (RFC 1123). */
  nameLength: 63,
  /** Free text that a user gives: team, description, reason. */
  textLength: 256,
  /** The value of a STRING material or of an annotation: it is carried inline in the statement. */
  stringValueSizeBytes: 16 * 1024,
  /** The value of an environment variable that a contract allows. */
  envValueSizeBytes: 16 * 1024,
  /** A file of the crafting state: the contract, the variables and the commit, or one material. */
  stateSizeBytes: 8 * 1024 * 1024,
  /** An answer of git, or a file of its folder: packed-refs of a large repository are the largest. */
  gitOutputSizeBytes: 16 * 1024 * 1024,
  /** Remotes of a checkout that are recorded. */
  gitRemotes: 20,
  /** One question to git; it reads an index or a configuration, never the network. */
  gitTimeoutMs: 10_000,
  /** An SBOM is parsed as a whole; the largest real ones are about 50 MB. */
  sbomSizeBytes: 64 * 1024 * 1024,
  /** Up to this size the place of a syntax error in a document is looked for: it takes much memory. */
  syntaxPlaceSizeBytes: 2 * 1024 * 1024,
  /** Reading one SBOM in the control plane, in a thread of its own; the largest take about 5 s. */
  sbomTimeoutMs: 30_000,
  /** The same SBOM from storage: 64 MiB at 5 Mbit/s, with room. */
  sbomReadTimeoutMs: 120_000,
  /** SBOMs of one organization that are read, or wait for that thread, at a time: each is in memory. */
  sbomsPerOrganization: 2,
  /** Heap of that thread: an SBOM of 64 MiB is about 500 MiB of objects. */
  sbomHeapMiB: 1024,
  /** A statement: 10,000 materials are 1.8 MB. */
  statementSizeBytes: 4 * 1024 * 1024,
  /** A bundle: base64 of the statement, certificates and timestamps. */
  bundleSizeBytes: 8 * 1024 * 1024,
  /** One certificate of a bundle: Fulcio's have 1 kB, the largest of public authorities 10 kB. */
  certificateSizeBytes: 64 * 1024,
  /** One RFC 3161 response of a bundle: with its chain some 5 kB. */
  timestampSizeBytes: 64 * 1024,
  /** A trusted root: the one of public Sigstore is 7 kB, ours 3 kB for each generation of its authorities. */
  trustRootSizeBytes: 8 * 1024 * 1024,
  /** A signing config of Sigstore: a few addresses; the public one has 2 kB. */
  signingConfigSizeBytes: 256 * 1024,
  /** An answer of Fulcio, Rekor or a time-stamping authority: certificates, and one log entry with its proof, some 20 kB. */
  sigstoreAnswerSizeBytes: 1024 * 1024,
  /** New signatures for one attestation, each because an equal log entry of an older try is there and cannot be fetched. */
  sigstoreSignatures: 3,
  /** Authorities, or logs, of one kind in a trusted root, and so generations of ours: one a month for 85 years. */
  trustRootAuthorities: 1_024,
  /** Identities that an organization trusts: a push looks at all of them. */
  identities: 200,
  /** Of these, with a trusted root of their own, and the size of each: reading one takes a millisecond for each kB. */
  ownRoots: 20,
  ownRootSizeBytes: 128 * 1024,
  /** A manifest or index from a registry (distribution specification, "Pushing Manifests": at least 4 MiB). */
  manifestSizeBytes: 4 * 1024 * 1024,
  /** An error answer of a registry or server, the part that is read at all. */
  errorBodySizeBytes: 64 * 1024,
  /** A key file. */
  keySizeBytes: 64 * 1024,
  /** scrypt of an encrypted cosign key: 128 N r. The strongest that cosign writes (N = 131,072, r = 8) needs half of it. */
  scryptMemoryBytes: 256 * 1024 * 1024,
  /** scrypt of an encrypted cosign key: passes over that memory. cosign writes 1. */
  scryptPasses: 4,
  /** The body of one API request: a bundle in JSON, twice escaped, with room. */
  requestBodySizeBytes: 16 * 1024 * 1024,
  /** The body of a call that needs no token: the token of a CI system, with room. */
  openRequestBodySizeBytes: 64 * 1024,
  /** Calls in one batch of the API. */
  requestBatch: 10,
  /** One page of a list. */
  pageSize: 100,
  /** Pieces of evidence of each run in an answer of `discover` that has several runs: 100 of these, each of 0.5 kB, are 1 MB. */
  discoverEvidence: 20,
  /** Uploads larger than this go in one pass, hashed while they are sent; smaller ones are read, hashed and sent in one request. */
  singleRequestUploadSizeBytes: 8 * 1024 * 1024,
  /** Uploads at the same time, per client. */
  uploadConcurrency: 4,
  /** Tries of one request that may be repeated. */
  attempts: 5,
  /** Until a connection to another machine is there, TLS included. */
  connectTimeoutMs: 10_000,
  /** A request without a body: until its answer begins. */
  requestTimeoutMs: 30_000,
  /** An upload that is complete, until the registry has hashed and moved it. */
  commitTimeoutMs: 300_000,
  /** All pauses between the tries of one operation. */
  retryBudgetMs: 120_000,
  /** A certificate for an ephemeral key: time to sign, and to get the signature stamped. */
  certificateLifetimeMs: 10 * 60 * 1000,
  /** A certificate begins so much earlier: the clock of the server that stamps may be behind that of the one that certifies. */
  certificateBackdatingMs: 30 * 1000,
  /** A new certificate authority begins, and a replaced one ends, with so much tolerance for clocks. */
  certificateClockSkewMs: 5 * 60 * 1000,
  /** A request for a timestamp (RFC 3161): a SHA-256 and a nonce are about 70 bytes. */
  timestampRequestSizeBytes: 4 * 1024,
  /** Timestamps for whoever asks without a token, all together: each is a signature of about a millisecond. */
  openTimestampsPerSecond: 50,
  /** Redirects that are followed for one download; registries need one or two. */
  redirects: 5,
  /** How long a writer of a fallback tag waits for others to overwrite it: several times what reading and writing it takes. */
  fallbackQuietMs: 1_000,
  /** Bundles on one image that are read: a release has one or two, and each may have `bundleSizeBytes`. */
  attachedBundles: 50,
  /** Images of an index that are looked at, to say which of them was attested: platforms are about ten. */
  indexImages: 32,
  /** Attestations of one artifact that the gate reads and judges, the most promising first. */
  gateCandidates: 20,
  /** Pages of `pageSize` runs among which it chooses them. */
  gatePages: 10,
  /** Runs that brought an artifact and did not succeed, which the gate names where there is no attestation; and among how many it looks. */
  gateUnattested: 3,
  gateUnattestedAmong: 100,
  /** Bundles that are given to the gate as files. */
  gateBundles: 100,
  /** Trusted roots that are given to it. */
  gateTrustRoots: 10,
  /** Pages of one list that a registry answers in several. */
  registryPages: 100,
  /** A Docker configuration file, or the answer of a credential helper. */
  dockerConfigSizeBytes: 1024 * 1024,
  /** A credential helper may ask a key chain or a cloud. */
  credentialHelperTimeoutMs: 30_000,
  /** A body: between two pieces. There is no limit on the whole, so that slow links can finish. */
  idleTimeoutMs: 60_000,
  /** Reading one contract in a process of its own (CUE; large YAML), from the moment that the process is ready. */
  cueTimeoutMs: 3_000,
  /** The start of that process: 0.5 s on a quiet machine. */
  cueStartTimeoutMs: 20_000,
  /** Such processes at the same time, per server; each may use all the memory below. */
  cueConcurrency: 2,
  /** YAML up to this size is parsed in the server's own process: the worst such text takes less than 50 ms, 256 KiB take up to 2 s. */
  inlineYamlSizeBytes: 4 * 1024,
  /** WebAssembly memory of the process, in pages of 64 KiB. */
  cueMemoryPages: 8_192,
  /** A run that was opened and never pushed expires after this. */
  runLifetimeMs: 24 * 60 * 60 * 1000,
  /** Open runs of one workflow: one for each CI run of a day, with room. */
  openRuns: 1_000,
  /** A token, unless said otherwise. */
  tokenLifetimeMs: 90 * 24 * 60 * 60 * 1000,
  /** A run credential: a job that takes longer gets a new one for a new token of its CI system. */
  runCredentialLifetimeMs: 15 * 60 * 1000,
  /** The token of a CI system; GitHub's and GitLab's have about 2 KiB. */
  subjectTokenSizeBytes: 16 * 1024,
  /** How long the token of a CI system may be good: each is remembered for so long. GitLab's are good for as long as the job may take. */
  subjectTokenLifetimeMs: 24 * 60 * 60 * 1000,
  /** How far two clocks may be apart. */
  clockToleranceMs: 30_000,
  /** A binding made by name only: the first matching token has to come within this time. */
  pendingBindingMs: 72 * 60 * 60 * 1000,
  /** A file with a binding. */
  bindingSizeBytes: 16 * 1024,
  /** Bindings of one organization: an exchange looks at all of them. */
  bindings: 200,
  /** Refs, or events, of one binding. */
  bindingEntries: 50,
  /** From the beginning of a login to its end: a person types a password, and finds a telephone. */
  loginMs: 10 * 60 * 1000,
  /** Logins, begun or ended, a second, of all people together: nobody is known yet. Those of the device flow ask more often. */
  loginsPerSecond: 5,
  loginPollsPerSecond: 20,
  /** A code, or another parameter that a provider sends a browser back with. */
  loginParameterLength: 4096,
  /** A session, unless the server says otherwise. */
  sessionHours: 12,
  sessionHoursMost: 720,
  /** Sessions that ended are remembered, to say so. */
  sessionMemoryMs: 24 * 60 * 60 * 1000,
  /** Organizations of one person: every request looks at them. */
  memberships: 100,
  /** How long an invitation may be taken. */
  invitationMs: 7 * 24 * 60 * 60 * 1000,
  /** The server's file with issuers. */
  issuersSizeBytes: 64 * 1024,
  /** A discovery document or key set of an issuer, and the time that each may take. */
  issuerAnswerSizeBytes: 256 * 1024,
  issuerTimeoutMs: 5_000,
  /** The keys of an issuer: asked for again after this, so that a key that was withdrawn is not trusted for long. */
  issuerKeysLifetimeMs: 10 * 60 * 1000,
  /** The keys of an issuer that does not answer are good for so long. */
  issuerKeysStaleMs: 60 * 60 * 1000,
  /** Between two requests for the keys of one issuer, whatever made-up key ids arrive. */
  issuerCooldownMs: 1_000,
  /** Exchanges that wait for the keys of one issuer: more are told to come back. */
  issuerWaiters: 8,
  /** Failed exchanges from one address within a minute. */
  failedExchangesPerMinute: 120,
  /** A registry token, for docker, oras and others: they ask for a new one by themselves. */
  registryTokenLifetimeMs: 5 * 60 * 1000,
  /** Organizations in one registry token: an owner's client may ask for several, and the token travels in a header. */
  registryTokenScopes: 8,
  /** The form in which a client asks for a registry token. */
  tokenRequestSizeBytes: 16 * 1024,
  /** Unknown tokens from one address within a minute; the same one again does not count. */
  failedLoginsPerMinute: 120,
  /** Connections of one server to PostgreSQL, unless said otherwise: more than its cores only adds latency (measured: 8 and 32 differ by a tenth). */
  databaseConnections: 16,
  /** Of these, held by work that only one server may do at a time, such as writing a tag in a registry. */
  databaseLocks: 4,
  /** Connections of clients to one server, unless said otherwise: each job has a handful, and each takes some 50 KB. */
  connections: 4_096,
  /** Requests a second that one token may make on and on, unless said otherwise: the jobs of one workflow; a job makes about 80 in all. */
  tokenRequestsPerSecond: 200,
  /** The same for all tokens of an organization. A thousand pipelines that start within a minute make 1,300 a second, and stay below it with the burst. */
  organizationRequestsPerSecond: 1_000,
  /** So many seconds of requests may come at once, after a rest. */
  rateBurstSeconds: 30,
  /** Waiting for a connection, a free one or a new one. After that: 503, and the caller tries again. */
  databaseConnectTimeoutMs: 5_000,
  /** One statement. The slowest in use takes milliseconds. */
  databaseStatementTimeoutMs: 15_000,
  /** The embedded database does nothing else while a backup of it is read: by then it has been, or it was in vain. 5 GB at 10 MB/s. */
  backupHoldMs: 10 * 60 * 1000,
  /** Rows of a backup that are read or written at once, and their size, so that memory does not depend on how many there are. */
  backupPageRows: 256,
  backupPageSizeBytes: 4 * 1024 * 1024,
  /** One row of a backup: a contract is there twice, as it was written and as it was understood. */
  backupRowSizeBytes: 64 * 1024 * 1024,
  /** The description of a backup: a line for each table. */
  backupManifestSizeBytes: 1024 * 1024,
  /** Headers of one request to the gateway, all together. */
  headerSizeBytes: 16 * 1024,
  /** The name of a file: what file systems take. */
  fileNameLength: 255,
  /** What one manifest may refer to: each is looked up. */
  manifestEntries: 1_000,
  /** Tags in one answer of the gateway. */
  tagsPageSize: 1_000,
  /** Referrers in one answer of the gateway: each is read. */
  referrersPageSize: 1_000,
  /** Open uploads of one organization: each may hold a file on disk. */
  openUploads: 1_000,
  /** An upload that nobody continues is forgotten after this, and its space freed. */
  uploadLifetimeMs: 24 * 60 * 60 * 1000,
  /** A part of an upload to S3: two are in memory for each upload that is under way. S3 takes none below 5 MiB, but the last. */
  s3PartSizeBytes: 8 * 1024 * 1024,
  /** Parts of one upload: S3 takes no more. So a blob there has at most 78 GiB. */
  s3Parts: 10_000,
  /** What is copied inside S3 by one request: it takes 5 GiB, and then longer than a connection lives. */
  s3CopySizeBytes: 1024 * 1024 * 1024,
  /** Requests with bytes for one bucket at a time; with two parts each at most 1 GiB of memory. */
  s3UploadsAtOnce: 64,
  /** Further ones wait for so long. */
  s3WaitMs: 30_000,
  /** Pages, of 1,000, of one list of a bucket. */
  s3ListPages: 1_000,
  /** Every storage backend is checked so often, by one of the servers; one that was found invalid more often. */
  backendCheckEveryMs: 5 * 60 * 1000,
  backendRecheckEveryMs: 60 * 1000,
  /** Backends that one server checks at a time. */
  backendChecks: 8,
  /** A client that sends on after a refusal: so long it may, to read the answer. */
  lingerTimeoutMs: 2_000,
  /** Rows that retention looks at in one step: some milliseconds of the database. */
  collectionStep: 1_000,
  /** Each organization is looked at so often. */
  collectionIntervalMs: 24 * 60 * 60 * 1000,
  /** How often a server asks whether it is some organization's turn. */
  collectionPollMs: 10 * 60 * 1000,
  /** Effects of pushes that one server works on at a time. */
  outboxConcurrency: 4,
  /** An effect is another server's after this, unless who works on it says that it still does; it says so three times as often. */
  outboxLeaseMs: 60_000,
  /** An effect is tried so often, with pauses that double: a day and a half. Then it waits for an operator. */
  outboxAttempts: 20,
  /** The first pause, and the longest one. */
  outboxPauseMs: 1_000,
  outboxLongestPauseMs: 6 * 60 * 60 * 1000,
  /** How often the outbox is looked at when nobody said that there is something in it. */
  outboxPollMs: 30_000,
  /** Servers tell each other of new effects at most so often: each time costs PostgreSQL a lock that all others wait for. */
  outboxSignalMs: 100,
  /** A server that was told to stop is not ready for so long before it refuses anything: a balancer that asks each second looks elsewhere by then. */
  drainNoticeMs: 1_500,
  /** Requests in flight may finish for this long after that. */
  drainTimeoutMs: 8_000,
} as const;
