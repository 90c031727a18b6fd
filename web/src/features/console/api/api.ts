// Questions to the admin API: where it is, which token goes along, and what a refusal asks of whom.
import { ask, AskFailed, json, whatWasSaid } from '../../../wire/ask';
import type { Decoder } from '../../../wire/decode';
import type { Session, Wish } from './session';

export type Query = readonly (readonly [string, string | number | null])[];

export class Api {
  readonly session: Session;
  readonly #base: string;

  /** `base`: where the router is mounted, with its last slash: `./`, or `/admin/`. */
  constructor(base: string, session: Session) {
    this.#base = base;
    this.session = session;
  }

  async get<T>(path: string, query: Query, decode: Decoder<T>, signal: AbortSignal): Promise<T> {
    return this.#ask('reading', this.url(path, query), decode, { signal, headers: this.session.fields });
  }

  /** `wish`: some things are asked with a body, and change nothing. */
  async post<T>(wish: Wish, path: string, body: unknown, decode: Decoder<T>, signal?: AbortSignal): Promise<T> {
    const { method, headers, body: text } = json(body);
    const init: RequestInit = { headers: { ...fieldsOf(headers), ...this.session.fields } };
    if (method !== undefined) init.method = method;
    if (text !== undefined) init.body = text;
    if (signal !== undefined) init.signal = signal;
    return this.#ask(wish, this.url(path, []), decode, init);
  }

  /** Text as it is, for what is shown and not read: no more than the server gives. */
  async text(path: string, query: Query, signal: AbortSignal): Promise<string> {
    const response = await this.open(path, query, {}, signal);
    return response.text();
  }

  /**
   * An answer whose body is still to come.
   *
   * @throws AskFailed where it is none that was asked for
   */
  async open(
    path: string,
    query: Query,
    fields: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Response> {
    let response: Response;
    const began = performance.now();
    const failed = (trouble: AskFailed['trouble']) =>
      new AskFailed(trouble, { ms: performance.now() - began, verdict: { kind: 'unsaid' }, serverTiming: new Map() });
    try {
      const headers = { ...fields, ...this.session.fields };
      response = await fetch(this.url(path, query), { cache: 'no-store', headers, signal });
    } catch (error) {
      if (signal.aborted) throw error;
      throw failed({ kind: 'unreachable' });
    }
    if (response.ok) return response;
    const said = whatWasSaid(await response.text());
    this.#noteRefusal('reading', response.status, said);
    throw failed({ kind: 'refused', status: response.status, said });
  }

  url(path: string, query: Query): string {
    const told = query.filter((pair): pair is readonly [string, string | number] => pair[1] !== null && pair[1] !== '');
    const search = new URLSearchParams(told.map(([name, value]) => [name, String(value)])).toString();
    return `${this.#base}${path}${search === '' ? '' : `?${search}`}`;
  }

  /**
   * Shows a token with one question, and from now on with all if it does: a server counts wrong ones, and a view asks many
   * questions at once. Whether it does for changes shows with the first.
   */
  async tryToken(token: string): Promise<boolean> {
    const headers = { authorization: `Bearer ${token.trim()}` };
    const response = await fetch(this.url('v1/stats', []), { cache: 'no-store', headers }).catch(() => null);
    if (response !== null && (response.status === 401 || response.status === 429)) {
      this.session.rejected(whatWasSaid(await response.text()));
      return false;
    }
    this.session.show(token);
    return true;
  }

  async #ask<T>(wish: Wish, url: string, decode: Decoder<T>, init: RequestInit): Promise<T> {
    try {
      return (await ask(url, decode, init)).value;
    } catch (error) {
      if (error instanceof AskFailed && error.trouble.kind === 'refused') {
        this.#noteRefusal(wish, error.trouble.status, error.trouble.said);
      }
      throw error;
    }
  }

  #noteRefusal(wish: Wish, status: number, said: string): void {
    // 429 here: too many wrong ones came from this address. Both are mended by a right one, if by anything.
    if (status === 401 || (status === 429 && this.session.hasToken)) this.session.refused(wish, said);
  }
}

function fieldsOf(headers: RequestInit['headers']): Readonly<Record<string, string>> {
  return Object.fromEntries(new Headers(headers));
}
