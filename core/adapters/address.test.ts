import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressKind, isLoopbackHost } from './address.ts';

const kinds = {
  public: ['8.8.8.8', '1.1.1.1', '172.15.0.1', '172.32.0.1', '2606:4700::1111', '::ffff:8.8.8.8'],
  private: [
    '10.0.0.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '100.64.0.1',
    'fc00::1',
    'fd12::1',
    '::ffff:10.0.0.1',
    '64:ff9b::10.0.0.1',
  ],
  loopback: ['127.0.0.1', '127.255.255.254', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', '::ffff:7f00:1', '2002:7f00:1::', '::127.0.0.1'],
  linkLocal: [
    '169.254.169.254',
    '::ffff:169.254.169.254',
    '::ffff:a9fe:a9fe',
    'fe80::1',
    'fe80::1%eth0',
    'fd00:ec2::254',
    '100.100.100.200',
  ],
  reserved: ['0.0.0.0', '::', '224.0.0.1', '255.255.255.255', '192.0.2.1', 'ff02::1', 'localhost', 'not an address', ''],
} as const;

test('every spelling of an address is of the kind of the network that it leads to', () => {
  for (const kind of ['public', 'private', 'loopback', 'linkLocal', 'reserved'] as const)
    for (const address of kinds[kind]) assert.equal(addressKind(address), kind, address);
});

test('this machine is known by name and address', () => {
  for (const host of ['localhost', '127.0.0.1', '[::1]', '::1', '127.8.8.8']) assert.ok(isLoopbackHost(host), host);
  for (const host of ['localhost.example.com', '128.0.0.1', '[::2]', '', 'ghcr.io']) assert.ok(!isLoopbackHost(host), host);
});
