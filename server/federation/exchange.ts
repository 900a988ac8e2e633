import type { Http } from '../../core/adapters/http.ts';
import type { JobClaims } from '../../core/claims.ts';
import { digestOf, hexOf } from '../../core/digest.ts';
import { ChainloopError, type Problem } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import type { ExchangeAnswer } from '../../core/wire.ts';
import { type BindingRow, bindingsFor } from '../../db/bindings.ts';
import type { Database } from '../../db/client.ts';
import { onlyOrganization } from '../../db/organizations.ts';
import { issueRunCredential } from '../../db/run-credentials.ts';
import { makeToken } from '../tokens.ts';
import type { Issuers } from './issuers.ts';
import { createKeySource } from './keys.ts';
import { conditionsOf } from './match.ts';
import { createThrottle } from './throttle.ts';
import { type Claimed, findKey, verifySubject } from './verify.ts';

export type ExchangeRequest = {
  readonly subjectToken: string;
  /** Whose bindings count. It may be left out where there is only one. */
  readonly organization?: string | undefined;
  /** These choose between the bindings that match. */
  readonly project?: string | undefined;
  readonly workflow?: string | undefined;
  /** The other end of the connection. */
  readonly address: string;
};

export type Federation = {
  readonly issuers: Issuers;
  /**
   * A run credential for the token of a CI system (RFC 8693 in its shape). Throws UNAUTHENTICATED and TOKEN_EXPIRED for the token,
   * NO_BINDING with the difference, USAGE when an organization must be named, CONFLICT when several workflows are meant, RATE_LIMITED.
   */
  exchange(request: ExchangeRequest): Promise<ExchangeAnswer>;
};

/** Bindings whose difference is shown. */
const shownBindings = 5;

export function createFederation(deps: {
  readonly database: Database;
  readonly issuers: Issuers;
  readonly http: Http;
  readonly now: () => Date;
  readonly origin: () => string;
  /** Counts refusals by address; not behind a proxy, where all have the same. */
  readonly limitByAddress: boolean;
}): Federation {
  const { database, issuers, http, now, origin } = deps;
  const keys = createKeySource({ http, now });
  const throttle = createThrottle({ now, limitByAddress: deps.limitByAddress });

  async function exchange(request: ExchangeRequest): Promise<ExchangeAnswer> {
    const claimed = await findKey({ issuers, keys }, request.subjectToken);
    return throttle.inPlace(() => exchangeClaimed(claimed, request));
  }

  async function exchangeClaimed(claimed: Claimed, request: ExchangeRequest): Promise<ExchangeAnswer> {
    const at = now();
    const { claims, use, expiresAt: usedUntil } = await verifySubject(claimed, { now: at, audience: origin() });
    const organization = request.organization ?? (await theOnly(database));
    const binding = choose(await bindingsFor(database.system, claims, organization, at), claims, { ...request, organization });
    const { token, hash } = makeToken('run');
    const expiresAt = new Date(at.getTime() + limits.runCredentialLifetimeMs);
    const naturalKey = naturalKeyOf(claims, binding.workflowId);
    const outcome = await issueRunCredential(database.systemAs({ kind: 'job', id: null, name: claims.repository }), {
      use,
      usedUntil,
      binding,
      claims,
      naturalKey,
      hash,
      expiresAt,
      now: at,
    });
    if (outcome === 'used') {
      throw new ChainloopError('UNAUTHENTICATED', 'token: it was exchanged before, and is good once; ask the CI system for a new one');
    }
    const { project, workflow } = binding;
    const identity = { san: claims.san, issuer: claims.issuer };
    return { token, expiresAt: expiresAt.toISOString(), organization, project, workflow, identity };
  }

  return { issuers, exchange: (request) => throttle.counted(request.address, () => exchange(request)) };
}

/**
 * Anybody may bind any repository, and what binds a job also says what it hands over: so the job says whom it trusts. Where there is
 * nobody else, it need not.
 */
async function theOnly(database: Database): Promise<string> {
  const organization = await onlyOrganization(database.system);
  if (organization !== undefined) return organization.name;
  throw new ChainloopError('USAGE', 'organization: the job must name the one that it attests for; set CHAINLOOP_ORGANIZATION');
}

/** All jobs of one CI run have the same, whichever binding let them in: one attestation for each workflow. */
function naturalKeyOf({ issuer, repositoryId, runId }: JobClaims, workflowId: string): string {
  return hexOf(digestOf(JSON.stringify([issuer, repositoryId, runId, workflowId])));
}

type Choice = { readonly organization: string; readonly project?: string | undefined; readonly workflow?: string | undefined };

function choose(candidates: readonly BindingRow[], claims: JobClaims, choice: Choice): BindingRow {
  const { organization, project, workflow } = choice;
  const chosen = candidates.filter(
    (binding) => (project === undefined || binding.project === project) && (workflow === undefined || binding.workflow === workflow),
  );
  const letsIn = (binding: BindingRow): boolean => conditionsOf(binding, claims).every(({ holds }) => holds);
  const matching = chosen.filter(letsIn);
  const [first] = matching;
  if (first === undefined) {
    const elsewhere = placesOf(candidates.filter(letsIn));
    if (chosen.length === 0 && elsewhere.length > 0) throw notThere(choice, elsewhere);
    throw noBinding(chosen.length === 0 ? candidates : chosen, claims, organization);
  }
  const places = placesOf(matching);
  if (places.length === 1) return first;
  throw new ChainloopError(
    'CONFLICT',
    `token: bindings let this job into ${places.length} workflows (${places.join(', ')}); choose one with --project and --workflow`,
    { problems: places.slice(0, limits.problems).map((place) => ({ message: `project/workflow ${place}` })) },
  );
}

function placesOf(rows: readonly BindingRow[]): readonly string[] {
  return [...new Set(rows.map(({ project, workflow }) => `${project}/${workflow}`))];
}

/** The job is let in, but not where it wants to go. */
function notThere({ organization, project, workflow }: Choice, places: readonly string[]): ChainloopError {
  const asked = [workflow !== undefined && `workflow '${workflow}'`, project !== undefined && `project '${project}'`].filter(Boolean);
  return new ChainloopError(
    'NO_BINDING',
    `token: organization '${organization}' has no binding for ${asked.join(' of ')}; bindings let this job into: ${places.slice(0, limits.problems).join(', ')}`,
  );
}

/** What was expected and found: of bindings of this very owner alone, so that nobody learns about others by asking. */
function noBinding(candidates: readonly BindingRow[], claims: JobClaims, organization: string): ChainloopError {
  const near = candidates
    .filter(({ ownerId }) => ownerId === claims.ownerId)
    .map((binding) => ({ binding, wrong: conditionsOf(binding, claims).filter(({ holds }) => !holds) }))
    .toSorted((a, b) => a.wrong.length - b.wrong.length)
    .slice(0, shownBindings);
  const problems = near.flatMap(({ binding, wrong }) =>
    wrong.map(({ claim, expected, found }): Problem => {
      const name = `${binding.id} (${binding.project}/${binding.workflow})`;
      return {
        path: claim,
        message: `is '${found}'; binding ${name} expects ${expected}`,
        claim: { binding: name, expected, found },
      };
    }),
  );
  const who = `repository ${claims.repository} (id ${claims.repositoryId}, owner id ${claims.ownerId})`;
  const what = near.length === 0 ? 'none of that owner is known' : `${near.length} of that owner would have to say otherwise`;
  return new ChainloopError(
    'NO_BINDING',
    `token: no binding of organization '${organization}' lets in this job of ${who}: ${what}; an administrator makes one with: chainloop binding create -f binding.yaml`,
    { problems: problems.slice(0, limits.problems) },
  );
}
