import type { DiscoverEvidence, DiscoverRun, Discovery, Touch } from '../core/discover.ts';
import { escapeText } from './terminal/escape.ts';
import { formatSize, formatTime } from './terminal/time.ts';

/** Lines of text, with those that hang below. */
type Node = { readonly lines: readonly string[]; readonly below: readonly Node[] };

/** What was asked for, the runs that touch it, and what these are of: a tree that ends in a newline. Digests stand whole, on lines of their own. */
export function drawDiscovery({ subject, stored, contracts, items }: Discovery): string {
  const head = [
    subject.type === 'run' ? `run ${subject.value}` : subject.value,
    ...(stored === null
      ? []
      : [`${stored.fileName ?? 'without a name'}, ${formatSize(stored.sizeBytes)}, in storage since ${formatTime(stored.uploadedAt)}`]),
    ...contracts.map(({ name, revision }) => `contract ${name} (revision ${revision})`),
  ];
  return draw({ lines: head, below: items.map(runNode) })
    .map((line) => `${line}\n`)
    .join('');
}

function runNode({ run, touches, attestation, vsa, provenance, subjects, materials, more }: DiscoverRun): Node {
  const as = touches.map(touched).filter((text) => text !== '');
  const leaf = (...lines: string[]): Node => ({ lines, below: [] });
  return {
    lines: [
      `run ${run.id} ${run.state}, ${formatTime(run.createdAt)}`,
      `${run.project}/${run.workflow}${as.length === 0 ? '' : `, ${as.join(', ')}`}`,
    ],
    below: [
      leaf(`contract ${run.contractName ?? ''} (revision ${run.contractRevision})`),
      ...(run.commit ? [leaf(`commit ${run.commit} ${run.commitAuthenticated === true ? '(verified)' : '(self-reported)'}`)] : []),
      ...(attestation === null
        ? [leaf('no attestation: what it brought is evidence of nothing')]
        : [
            leaf(
              `attestation of ${attestation.signer ?? ''}${attestation.removedAt === null ? '' : `, removed by retention ${formatTime(attestation.removedAt)}`}`,
              attestation.digest,
            ),
          ]),
      ...(vsa === null ? [] : [leaf('verification summary of the control plane', vsa)]),
      ...(provenance === null ? [] : [leaf('provenance', provenance)]),
      ...subjects.map((one) => evidenceNode('subject', one)),
      ...materials.map((one) => evidenceNode('material', one)),
      ...(more === 0 ? [] : [leaf(`${more} more: chainloop discover ${run.id}`)]),
    ],
  };
}

function evidenceNode(role: 'subject' | 'material', { name, type, fileName, digest, value }: DiscoverEvidence): Node {
  const what = digest === null ? (value ?? '') : (fileName ?? '');
  return { lines: [`${role} ${name} (${type}) ${what}`.trimEnd(), ...(digest === null ? [] : [digest])], below: [] };
}

function touched(touch: Touch): string {
  switch (touch.role) {
    case 'subject':
    case 'material':
      return `as ${touch.role} ${touch.name}`;
    case 'attestation':
      return 'whose attestation it is';
    case 'vsa':
      return 'whose verification summary it is';
    case 'provenance':
      return 'whose provenance it is';
    case 'commit':
    case 'contract':
    case 'run':
      return '';
  }
}

/** Every text of it comes from somebody else, and is escaped. */
function draw({ lines, below }: Node): string[] {
  const hanging = below.flatMap((node, index) => {
    const last = index === below.length - 1;
    return draw(node).map((line, at) => `${at === 0 ? (last ? '└─ ' : '├─ ') : last ? '   ' : '│  '}${line}`);
  });
  return [...lines.map(escapeText), ...hanging];
}
