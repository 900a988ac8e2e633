import type * as z from 'zod';
import { contractDigest } from '../../core/contract.ts';
import { ChainloopError } from '../../core/errors.ts';
import { type ContractRevisionView, type ContractView, wire } from '../../core/wire.ts';
import {
  addRevision,
  type ContractRow,
  createContract,
  describeContract,
  listContracts,
  type RevisionContent,
  type RevisionRow,
  removeContract,
} from '../../db/contracts.ts';
import type { ContractReader } from '../contract-reader.ts';
import { admin, router, viewer } from '../trpc.ts';

type ContractFile = z.infer<typeof wire.contractWrite>;

export const contracts = router({
  create: admin.input(wire.contractWrite).mutation(async ({ ctx: { scope, services }, input }) => {
    const { name, content } = await readContract(services.contracts, input);
    return view(await createContract(scope, name, content));
  }),
  /** A new revision, if the content differs from the latest one. */
  update: admin.input(wire.contractWrite).mutation(async ({ ctx: { scope, services }, input }) => {
    const { name, content } = await readContract(services.contracts, input);
    const { changed, ...revision } = await addRevision(scope, name, content);
    return { ...view(revision), changed };
  }),
  list: viewer.input(wire.page).query(async ({ ctx: { scope }, input }) => {
    const { items, nextCursor } = await listContracts(scope, input);
    return { items: items.map(listed), nextCursor };
  }),
  describe: viewer
    .input(wire.contractDescribe)
    .query(async ({ ctx: { scope }, input }) => view(await describeContract(scope, input.name, input.revision))),
  /** Reads a contract and changes nothing. */
  validate: viewer.input(wire.contractWrite).query(async ({ ctx: { services }, input }) => {
    const { contract } = await services.contracts.read(input.body, input.format);
    return { contract, problems: [] };
  }),
  remove: admin.input(wire.byName).mutation(async ({ ctx: { scope }, input }) => removeContract(scope, input.name)),
});

async function readContract(
  reader: ContractReader,
  file: ContractFile,
): Promise<{ readonly name: string; readonly content: RevisionContent }> {
  const { name: nameInFile, contract } = await reader.read(file.body, file.format);
  const name = file.name ?? nameInFile;
  if (name === undefined)
    throw new ChainloopError('USAGE', 'contract: it has no name; give one with --name, or in metadata.name of the file');
  const { format, body } = file;
  return { name, content: { format, body, content: contract, contentDigest: contractDigest(contract) } };
}

function view(row: RevisionRow): ContractRevisionView {
  const { id, name, revision, latestRevision, format, body, content, contentDigest: digest, createdAt } = row;
  return { id, name, revision, latestRevision, format, body, contract: content, digest, createdAt: createdAt.toISOString() };
}

function listed(row: ContractRow & { readonly workflows: readonly string[] }): ContractView {
  const { id, name, latestRevision, createdAt, updatedAt, workflows } = row;
  return { id, name, latestRevision, createdAt: createdAt.toISOString(), updatedAt: updatedAt.toISOString(), workflows };
}
