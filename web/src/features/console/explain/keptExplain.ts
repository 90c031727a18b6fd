// What stood in Explain when it was left.
import type { Request } from '../api/explain';
import type { OtherRules } from './policy';

/** What is asked about: a request that nobody makes, or one that was answered. */
export type Asked = { readonly kind: 'request'; readonly request: Request } | { readonly kind: 'past'; readonly id: string };

export interface KeptExplain {
  /** What the address named then. */
  readonly given: string;
  readonly text: string;
  readonly asked: Asked | null;
  /** The same with what was changed in it. */
  readonly edited: Request | null;
  readonly rules: OtherRules;
}
