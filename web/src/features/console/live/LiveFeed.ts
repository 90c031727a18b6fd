// Keeps the event stream open while the page is shown, and tries again where it breaks.
import type { Api } from '../api/api';
import { fetchStories } from '../api/purges';
import { historyShape } from '../api/samples';
import type { Sample } from '../api/samples';
import { isNotTold } from '../api/trouble';
import { isOver, listen, pause, whyOf } from './listen';
import { nextLive, NOTHING_YET } from './live';
import type { Happening, Live } from './live';

const HISTORY_SECONDS = 3600;
/** The server says something each second; silence for so long is a connection that is gone. */
const SILENCE_MS = 10_000;
/** How long it waits before it tries again: doubled each time, up to the second. */
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15_000;

export class LiveFeed {
  readonly #api: Api;
  readonly #listeners = new Set<() => void>();
  #live: Live = NOTHING_YET;

  constructor(api: Api) {
    this.#api = api;
  }

  get live(): Live {
    return this.#live;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Until `signal` is aborted, or a token is asked for: whoever shows one starts it anew. */
  async run(signal: AbortSignal): Promise<void> {
    let wait = FIRST_WAIT_MS;
    while (!isOver(signal)) {
      this.#happen({ kind: 'connecting' });
      try {
        void this.#readPast(signal);
        await this.#listen(signal, () => (wait = FIRST_WAIT_MS));
        if (isOver(signal)) return;
        this.#happen({ kind: 'lost', why: 'The server has closed the connection.' });
      } catch (error) {
        if (isOver(signal)) return;
        this.#happen({ kind: 'lost', why: whyOf(error) });
        if (this.#api.session.entry.kind === 'asked' && this.#api.session.entry.wish === 'reading') return;
      }
      await pause(wait, signal);
      wait = Math.min(wait * 2, LONGEST_WAIT_MS);
    }
  }

  /** It was ended because nobody sees the page; `run` goes on from there. */
  rest(): void {
    this.#happen({ kind: 'hidden' });
  }

  async #listen(signal: AbortSignal, onHeard: () => void): Promise<void> {
    // Whichever way the last second came: what was missed since then is told first.
    const last = this.#live.samples.at(-1);
    const fields = last === undefined ? {} : { 'last-event-id': String(last.second) };
    await listen(this.#api, { only: 'second,purge,stats', fields, silenceMs: SILENCE_MS }, signal, (event) => {
      this.#happen({ kind: 'event', event });
      onHeard();
    });
  }

  /** What was before. Of seconds the stream itself sends what was missed, once they are told; of purges it never does. */
  async #readPast(signal: AbortSignal): Promise<void> {
    const { past, purges: known } = this.#live;
    const [samples, purges] = await Promise.allSettled([past === 'told' ? null : this.#history(signal), fetchStories(this.#api, signal)]);
    if (signal.aborted) return;
    if (samples.status === 'fulfilled' && samples.value !== null) this.#happen({ kind: 'past', samples: samples.value });
    if (purges.status === 'fulfilled') this.#happen({ kind: 'purges', purges: purges.value, known });
  }

  async #history(signal: AbortSignal): Promise<readonly Sample[] | 'untold'> {
    const since = Math.floor(Date.now() / 1000) - HISTORY_SECONDS;
    try {
      return (await this.#api.get('v1/history', [['since', since]], historyShape, signal)).samples;
    } catch (error) {
      if (error instanceof Error && isNotTold(error)) return 'untold';
      throw error;
    }
  }

  #happen(happening: Happening): void {
    this.#live = nextLive(this.#live, happening);
    for (const listener of this.#listeners) listener();
  }
}
