// Reads one event stream until it ends, or until nothing comes for so long that it must be gone.
import { AskFailed } from '../../../wire/ask';
import type { Api } from '../api/api';
import { EventParser } from './serverEvents';
import type { ServerEvent } from './serverEvents';

/** The server says something each second, or that it is still there every fifteen. */
interface Wanted {
  /** Which events, with commas between. */
  readonly only: string;
  readonly fields?: Readonly<Record<string, string>>;
  readonly silenceMs: number;
}

/** Ends with the stream. */
export async function listen(
  api: Api,
  { only, fields = {}, silenceMs }: Wanted,
  signal: AbortSignal,
  onEvent: (event: ServerEvent) => void,
): Promise<void> {
  const silence = new AbortController();
  const both = AbortSignal.any([signal, silence.signal]);
  let timer = setTimeout(() => silence.abort(), silenceMs);
  try {
    const response = await api.open('v1/events', [['only', only]], fields, both);
    const reader = response.body?.getReader();
    if (reader === undefined) return;
    const parser = new EventParser();
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), silenceMs);
      parser.push(decoder.decode(value, { stream: true })).forEach(onEvent);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** It changes while one waits. */
export function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}

export function whyOf(error: unknown): string {
  if (!(error instanceof AskFailed)) return 'The connection broke off.';
  switch (error.trouble.kind) {
    case 'unreachable':
      return 'The server does not answer.';
    case 'refused':
      return error.trouble.said === '' ? `The server answered ${error.trouble.status}.` : `The server says: ${error.trouble.said}.`;
    case 'garbled':
      return error.trouble.why;
  }
}

export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
