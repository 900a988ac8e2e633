/** Where the schemas of CycloneDX are. A bundle without packages has them beside itself: its build puts another file in the place of this one. */
export const schemaFolder = new URL('res/schema/', import.meta.resolve('@cyclonedx/cyclonedx-library/package.json'));
