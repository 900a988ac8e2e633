// The Action as a bundler makes it of plain imports: one file, and all of it at once. What ours is beside that is measured.
export * as toolkit from '@actions/core';
export * as github from '@actions/github';
export * as salsa from '@noble/ciphers/salsa.js';
export * as entry from '../../action/entry.ts';
export * as perform from '../../action/perform.ts';
export * as keys from '../../core/adapters/keys.ts';
export * as images from '../../core/adapters/oci/image-resolver.ts';
export * as judge from '../../core/judge.ts';
