// The use cases of a crafting, in the order in which a job meets them. All decisions are in them; effects come through their ports.

export { type Added, type AddOptions, type AddPorts, add } from './attestation/add.ts';
export { attach, imagesOfBundle } from './attestation/attach.ts';
export { type Attachment, attachError } from './attestation/attachment.ts';
export { reset } from './attestation/end.ts';
export { type InitOptions, type InitPorts, init, openShared } from './attestation/init.ts';
export { type Pushed, type PushOptions, type PushPorts, push } from './attestation/push.ts';
export { type Status, status } from './attestation/status.ts';
