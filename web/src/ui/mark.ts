// The signs for what a cache did with a request, each with a shape and a colour of its own.

export const MARKS = ['hit', 'shared', 'stale', 'miss', 'bypass', 'unsaid', 'failed'] as const;
export type Mark = (typeof MARKS)[number];
