import { BlockList, isIP } from 'node:net';

/**
 * What kind of network an IP address belongs to. A server that calls an address which somebody else configured must know this of
 * the *resolved* address, at connection time, or a name could lead it into its own network (SSRF).
 */
export type AddressKind = 'public' | 'private' | 'loopback' | 'linkLocal' | 'reserved';

// IANA special-purpose address registries (RFC 6890). `linkLocal` holds the metadata services of the clouds.
const ranges = {
  loopback: ['127.0.0.0/8', '::1/128'],
  linkLocal: ['169.254.0.0/16', 'fe80::/10', 'fd00:ec2::/32', '100.100.100.200/32', '168.63.129.16/32'],
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'],
  reserved: [
    ...['0.0.0.0/8', '192.0.0.0/24', '192.0.2.0/24', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/3'],
    ...['::/128', '64:ff9b:1::/48', '100::/64', '2001:db8::/32', 'fec0::/10', 'ff00::/8'],
  ],
} as const;

const lists = {
  loopback: blockList(ranges.loopback),
  linkLocal: blockList(ranges.linkLocal),
  private: blockList(ranges.private),
  reserved: blockList(ranges.reserved),
} as const;

/** The kind of an IPv4 or IPv6 address in text; IPv4 inside IPv6 (mapped, NAT64, 6to4) counts as that IPv4 address. */
export function addressKind(address: string): AddressKind {
  const plain = embeddedIPv4(address) ?? address;
  const family = isIP(plain) === 6 ? 'ipv6' : 'ipv4';
  if (isIP(plain) === 0) return 'reserved';
  for (const kind of ['loopback', 'linkLocal', 'private', 'reserved'] as const) if (lists[kind].check(plain, family)) return kind;
  return 'public';
}

/** True for a host (as in a URL) that names this machine: such a registry may speak http. */
export function isLoopbackHost(hostname: string): boolean {
  const name = hostname.replace(/^\[|\]$/g, '');
  return name === 'localhost' || (isIP(name) !== 0 && addressKind(name) === 'loopback');
}

/** The IPv4 address inside `::ffff:0:0/96`, `64:ff9b::/96` (NAT64), `2002::/16` (6to4) or `::/96`, else undefined. */
function embeddedIPv4(address: string): string | undefined {
  if (isIP(address) !== 6) return undefined;
  const words = expand(address);
  const quad = (high: number, low: number) => `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  const [first = 0, second = 0, third = 0, , , , sixth = 0, last = 0] = words;
  const fifth = words[5] ?? 0;
  if (first === 0x2002) return quad(second, third);
  const middleIsZero = words.slice(2, 5).every((word) => word === 0);
  if (first === 0x64 && second === 0xff9b && middleIsZero && fifth === 0) return quad(sixth, last);
  if (first !== 0 || second !== 0 || !middleIsZero) return undefined;
  if (fifth === 0xffff) return quad(sixth, last);
  return fifth === 0 && (sixth !== 0 || last > 1) ? quad(sixth, last) : undefined;
}

/** The eight 16-bit words of an IPv6 address. */
function expand(address: string): number[] {
  const bare = address.split('%')[0] ?? address;
  // The URL parser knows every spelling, `::ffff:127.0.0.1` too, and gives one.
  const canonical = new URL(`http://[${bare}]`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  return [...left, ...Array<string>(zeros).fill('0'), ...right].map((word) => Number.parseInt(word, 16));
}

function blockList(subnets: readonly string[]): BlockList {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [network = '', prefix = ''] = subnet.split('/');
    list.addSubnet(network, Number(prefix), isIP(network) === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}
