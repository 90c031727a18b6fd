// What went wrong, in words for the person in front of the page: a title, and what to do about it.
import { AskFailed } from '../../wire/ask';
import type { Trouble } from '../../wire/ask';

export interface Problem {
  readonly title: string;
  readonly advice: string;
  /** The server's own words, for whoever looks after it. */
  readonly detail: string | null;
}

export function postProblem(error: Error, postId: number): Problem {
  const trouble = troubleOf(error);
  if (trouble.kind === 'refused' && trouble.status === 404) {
    return {
      title: `There is no post ${postId}`,
      advice: 'Choose another one from the list.',
      detail: trouble.said || null,
    };
  }
  return backendProblem(trouble);
}

export function listProblem(error: Error): Problem {
  const problem = backendProblem(troubleOf(error));
  return { ...problem, title: `No list of posts: ${lowerFirst(problem.title)}` };
}

export function configProblem(error: Error): Problem {
  const trouble = troubleOf(error);
  return {
    title: 'The page could not find its backend',
    advice: 'Its server should tell where the backend is, and did not. Check that `blog` is running, then try again.',
    detail: wordsOf(trouble),
  };
}

export function crowdProblem(error: Error): Problem {
  const trouble = troubleOf(error);
  if (trouble.kind === 'refused' && trouble.status === 409) {
    return {
      title: 'Another crowd is still asking',
      advice: 'Wait until it has been answered, then try again.',
      detail: trouble.said || null,
    };
  }
  return {
    title: 'The crowd could not be sent',
    advice: 'The page’s server sends it. Check that `blog` is running, then try again.',
    detail: wordsOf(trouble),
  };
}

export function purgeProblem(error: Error): Problem {
  return {
    title: 'The cache was not cleared',
    advice: 'Its console did not do it. Try again when the counters are live.',
    detail: wordsOf(troubleOf(error)),
  };
}

export function rulesProblem(error: Error): Problem {
  return {
    title: 'That could not be switched',
    advice: 'The backend did not do it. Try again when it answers.',
    detail: wordsOf(troubleOf(error)),
  };
}

/** A post number in the address that is none; no server needs to be asked about it. */
export function unreadableProblem(text: string): Problem {
  return {
    title: `“${text}” is not the number of a post`,
    advice: 'Choose a post from the list.',
    detail: null,
  };
}

function backendProblem(trouble: Trouble): Problem {
  if (trouble.kind === 'unreachable') {
    return {
      title: 'The backend does not answer',
      advice: 'Start it with `blog run` or `blog backend`, then try again.',
      detail: null,
    };
  }
  if (trouble.kind === 'refused' && trouble.status === 503) {
    return {
      title: postsServiceTitle(trouble.said),
      advice: 'What Larder already keeps can still be read. Start the posts service, then try again.',
      detail: trouble.said || null,
    };
  }
  return {
    title: trouble.kind === 'garbled' ? 'The backend’s answer made no sense' : 'The backend refused to answer',
    advice: 'Trying again may help; if not, its log says more.',
    detail: wordsOf(trouble),
  };
}

/** The backend tells three failures of the posts service apart, and so should we. */
function postsServiceTitle(said: string): string {
  if (said.includes('timeout')) return 'The posts service did not pick up in time';
  if (said.includes('communication')) return 'The posts service gave no usable answer';
  return 'The posts service is down';
}

function wordsOf(trouble: Trouble): string | null {
  switch (trouble.kind) {
    case 'unreachable':
      return null;
    case 'refused':
      return trouble.said || `status ${trouble.status}`;
    case 'garbled':
      return trouble.why;
  }
}

function troubleOf(error: Error): Trouble {
  return error instanceof AskFailed ? error.trouble : { kind: 'garbled', why: error.message };
}

function lowerFirst(title: string): string {
  return title.charAt(0).toLowerCase() + title.slice(1);
}
