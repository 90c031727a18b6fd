// The servers behind the page, in memory, for walking whole flows in tests. They keep state like the real
// ones: a cache that fills and is purged, a posts service that can be stopped, answers that wait to be released.

interface FakePost {
  readonly id: number;
  readonly title: string;
  readonly content: string;
  readonly department: string;
  readonly author: string;
  readonly created_at: string;
}

export const FAKE_POSTS: readonly FakePost[] = [1, 2, 3].map((id) => ({
  id,
  title: `Title ${id}`,
  content: `First paragraph of ${id}.\n\nSecond paragraph of ${id}.`,
  department: `Department ${id}`,
  author: `Author ${id}`,
  created_at: `2026-11-2${id}T10:22:23.396898+00:00`,
}));

export class FakeServers {
  posts: readonly FakePost[] = FAKE_POSTS;
  cacheEnabled = true;
  staleWhileRevalidate = false;
  /** Another backend shares what this one has. */
  isShared = false;
  ttlSeconds = 300;
  /** The backend tells and changes its rules. */
  rulesUp = true;
  postsServiceUp = true;
  backendUp = true;
  pageServerUp = true;
  consoleUp = true;
  /** While true, the posts service keeps everybody waiting until `release`. */
  slow = false;
  /** Everything that was asked, as `METHOD path body`; but not each look at the rules, which come by the clock. */
  readonly asked: string[] = [];

  readonly #cache = new Map<string, string>();
  readonly #shared = new Map<string, string>();
  readonly #expired = new Set<string>();
  #postsService = 'unasked';
  readonly #waiting: (() => void)[] = [];

  /** The other backend loads a post. */
  loadElsewhere(id: number): void {
    const post = this.posts.find((known) => known.id === id);
    if (post !== undefined) this.#shared.set(`/posts/${id}`, JSON.stringify(post));
  }

  release(): void {
    this.slow = false;
    for (const proceed of this.#waiting.splice(0)) proceed();
  }

  /** Stands in for the browser's `fetch`. */
  readonly fetch = async (url: string, init: RequestInit = {}): Promise<Response> => {
    const { port, pathname } = new URL(url, 'http://page:3000');
    const body = typeof init.body === 'string' ? init.body : '';
    const line = [init.method ?? 'GET', pathname, body].join(' ').trim();
    if (line !== 'GET /api/cache') this.asked.push(line);
    const answer = await this.#route(port, pathname, body);
    if (init.signal?.aborted === true) throw new DOMException('aborted', 'AbortError');
    return answer;
  };

  #route(port: string, path: string, body: string): Response | Promise<Response> {
    switch (port) {
      case '3000':
        if (!this.pageServerUp) return unreachable();
        return path === '/crowd' ? this.#crowd(body) : this.#config();
      case '8000':
        if (!this.backendUp) return unreachable();
        return path === '/api/cache' ? this.#rules(body) : this.#backend(path.slice('/api'.length));
      case '9191':
        return this.consoleUp ? this.#purge(body) : unreachable();
      default:
        return unreachable();
    }
  }

  #config(): Response {
    return Response.json({
      backend_port: 8000,
      console_port: 9191,
      posts_delay_ms: 2000,
      cache_enabled: this.cacheEnabled,
    });
  }

  #rules(body: string): Response {
    if (!this.rulesUp) return Response.json({ detail: 'Not Found' }, { status: 404 });
    if (body.includes('"enabled"')) this.cacheEnabled = body.includes('true');
    if (body.includes('"stale_while_revalidate"')) this.staleWhileRevalidate = body.includes('true');
    return Response.json({
      enabled: this.cacheEnabled,
      ttl_seconds: this.ttlSeconds,
      stale_while_revalidate: this.staleWhileRevalidate,
      stale_while_revalidate_seconds: this.ttlSeconds === 0 ? 0 : 60,
      stale_if_error_seconds: this.ttlSeconds === 0 ? 0 : 3600,
      posts_service: this.#postsService,
      shared: this.isShared,
    });
  }

  async #backend(key: string): Promise<Response> {
    const kept = this.cacheEnabled ? this.#cache.get(key) : undefined;
    const isExpired = this.#expired.has(key);
    if (kept !== undefined && !isExpired) {
      return answer(200, kept, `Larder; hit; ttl=297; key="${key}"; detail=hit`, '3');
    }
    if (kept !== undefined && this.staleWhileRevalidate) {
      // The refresh behind it.
      this.#postsService = this.postsServiceUp ? 'answered' : 'failed';
      if (this.postsServiceUp) this.#expired.delete(key);
      return answer(200, kept, `Larder; hit; ttl=-12; key="${key}"; detail=stale-while-revalidate`, '312');
    }

    const shared = this.cacheEnabled ? this.#shared.get(key) : undefined;
    if (shared !== undefined) {
      this.#cache.set(key, shared);
      return answer(200, shared, `Larder; hit; ttl=297; key="${key}"; detail=shared`, '3');
    }

    if (this.slow) await new Promise<void>((proceed) => this.#waiting.push(proceed));
    this.#postsService = this.postsServiceUp ? 'answered' : 'failed';
    const why = this.cacheEnabled ? 'Larder; fwd=uri-miss; detail=' : 'Larder; fwd=bypass; detail=';
    if (!this.postsServiceUp) {
      if (kept !== undefined) {
        return answer(200, kept, `Larder; hit; ttl=-12; key="${key}"; detail=stale-if-error`, '312');
      }
      const detail = 'Posts service unavailable (connection error)';
      return answer(503, JSON.stringify({ detail }), `${why}origin-error`);
    }
    const found = key === '/posts' ? this.posts : this.posts.find(({ id }) => key === `/posts/${id}`);
    if (found === undefined) {
      return answer(404, JSON.stringify({ detail: `Post with ID ${key.slice(7)} not found` }), `${why}uri-miss`);
    }
    if (this.cacheEnabled) {
      this.#cache.set(key, JSON.stringify(found));
      this.#expired.delete(key);
    }
    return answer(200, JSON.stringify(found), `${why}${this.cacheEnabled ? 'uri-miss' : 'bypass-rule'}`);
  }

  #purge(body: string): Response {
    const state = { tier: 'shared', state: 'applied', by: 2, of: 2 };
    const receipts = body.includes('"wait":"shared"') ? [{ tiers: [state] }] : [];
    this.#shared.clear();
    if (body.includes('"soft"')) {
      for (const key of this.#cache.keys()) this.#expired.add(key);
      return Response.json({ purged: null, mode: 'soft', receipts });
    }
    const keys = body.includes('"all":true')
      ? [...this.#cache.keys()]
      : [...body.matchAll(/"(\/[^"]+)"/g)].map(([, key]) => key ?? '');
    return Response.json({ purged: keys.filter((key) => this.#cache.delete(key)).length, receipts });
  }

  #crowd(body: string): Response {
    const warm = this.#cache.has(`/posts/${/"post_id":(\d+)/.exec(body)?.[1] ?? ''}`);
    const counts = warm ? { fetches: 0, collapsed: 0, hits: 100 } : { fetches: 1, collapsed: 99, hits: 0 };
    const times = { fastest_ms: 2004.1, median_ms: 2008, slowest_ms: 2012.4 };
    return Response.json({ users: 100, answered: 100, failed: 0, ...counts, ...times });
  }
}

/** Stands in for the browser's `EventSource`; the test speaks through it. */
export class FakeEventSource extends EventTarget {
  static readonly CLOSED = 2;
  static opened: FakeEventSource[] = [];
  readyState = 0;
  readonly url: string;

  constructor(url: string) {
    super();
    this.url = url;
    FakeEventSource.opened.push(this);
  }

  send(stats: unknown): void {
    this.dispatchEvent(new MessageEvent('stats', { data: JSON.stringify(stats) }));
  }

  break(readyState: 0 | 2): void {
    this.readyState = readyState;
    this.dispatchEvent(new Event('error'));
  }

  close(): void {
    this.readyState = FakeEventSource.CLOSED;
  }
}

function unreachable(): Promise<never> {
  return Promise.reject(new TypeError('Failed to fetch'));
}

function answer(status: number, body: string, cacheStatus: string, age?: string): Response {
  const headers = { 'cache-status': cacheStatus, ...(age === undefined ? {} : { age }) };
  return new Response(body, { status, headers });
}
