// What went wrong with a question to the admin API, in words, and what to do about it.
import { AskFailed } from '../../../wire/ask';

export interface Problem {
  readonly title: string;
  readonly advice: string;
  /** The server's own words, for whoever looks after it. */
  readonly detail: string | null;
}

/** `what`: as in “does not tell its routes”. */
export function problemOf(error: Error, what: string): Problem {
  if (!(error instanceof AskFailed)) {
    return { title: `The console could not show ${what}`, advice: 'Reload the page.', detail: error.message };
  }
  const { trouble } = error;
  switch (trouble.kind) {
    case 'unreachable':
      return {
        title: 'The server does not answer',
        advice: 'It may be starting anew, or be gone. Check that it runs, then try again.',
        detail: null,
      };
    case 'refused':
      if (isNotTold(error)) {
        return {
          title: `This server does not tell ${what}`,
          advice: 'Its application does not offer that. Everything else works without.',
          detail: trouble.said || null,
        };
      }
      if (trouble.status === 401 || trouble.status === 429) {
        return {
          title: 'A token is needed',
          advice: 'Show one that may do this, then try again.',
          detail: trouble.said || null,
        };
      }
      return {
        title: `The server refused to tell ${what}`,
        advice: 'What it says itself stands below.',
        detail: trouble.said || `status ${trouble.status}`,
      };
    case 'garbled':
      return {
        title: `What the server tells of ${what} made no sense`,
        advice: 'The console and the server may be of different versions: reload the page.',
        detail: trouble.why,
      };
  }
}

/** The server has no such answer, and will not have one later. */
export function isNotTold(error: Error | null): boolean {
  if (!(error instanceof AskFailed) || error.trouble.kind !== 'refused') return false;
  return error.trouble.status === 404 || error.trouble.status === 405;
}
