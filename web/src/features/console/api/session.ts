// Who this page is for the admin API: the token that somebody has typed, and whether one is asked for.
// It is in the memory of this page alone: no storage, no cookie, no address has it, and a reload forgets it.

/** What a token is asked for. */
export type Wish = 'reading' | 'changing';

export type Entry =
  /** Nothing was refused since the last token. */
  | { readonly kind: 'open' }
  | {
      readonly kind: 'asked';
      readonly wish: Wish;
      /** A token was shown for that, and did not do. */
      readonly wasShown: boolean;
      /** The server's own words. */
      readonly said: string;
    };

export class Session {
  #token: string | null = null;
  /** What it was asked for when it was shown: one for reading was no wrong one for changes. */
  #shownFor: Wish = 'reading';
  #entry: Entry = { kind: 'open' };
  readonly #listeners = new Set<() => void>();

  get entry(): Entry {
    return this.#entry;
  }

  get hasToken(): boolean {
    return this.#token !== null;
  }

  /** To be sent with each question. */
  get fields(): Readonly<Record<string, string>> {
    return this.#token === null ? {} : { authorization: `Bearer ${this.#token}` };
  }

  /** From now on this is shown. What lies around it when it is pasted does not belong to it. */
  show(token: string): void {
    this.#token = token.trim();
    this.#shownFor = this.#entry.kind === 'asked' ? this.#entry.wish : 'reading';
    this.#become({ kind: 'open' });
  }

  /** The server asks for a token, or for another one. Reading is the larger wish: without it there is nothing to change. */
  refused(wish: Wish, said: string): void {
    if (this.#entry.kind === 'asked' && this.#entry.wish === 'reading') return;
    const wasShown = this.#token !== null && (wish === 'reading' || this.#shownFor === 'changing');
    this.#become({ kind: 'asked', wish, wasShown, said });
  }

  /** A token that was tried does not do. It is not shown again. */
  rejected(said: string): void {
    const wish = this.#entry.kind === 'asked' ? this.#entry.wish : 'reading';
    this.#become({ kind: 'asked', wish, wasShown: true, said });
  }

  /** Whoever has no token for changes goes on reading. */
  dismiss(): void {
    if (this.#entry.kind === 'asked' && this.#entry.wish === 'changing') this.#become({ kind: 'open' });
  }

  /** Nobody who sits down here later can use it. */
  forget(): void {
    this.#token = null;
    this.#become({ kind: 'open' });
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  #become(entry: Entry): void {
    this.#entry = entry;
    for (const listener of this.#listeners) listener();
  }
}
