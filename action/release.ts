import description from '../package.json' with { type: 'json' };

/** The version of this action. */
export const version: string = description.version;
