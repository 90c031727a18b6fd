// The admin API in memory, for walking whole flows in tests. It keeps state like the real one: what is purged is stale or
// gone, a purge goes from tier to tier, a token that was not shown is asked for, an event stream tells what happens.

import { isRecord } from '../../../wire/decode';

export interface FakeEntry {
  readonly key: string;
  readonly bytes: number;
  readonly tags: readonly string[];
  readonly route: string;
  readonly costSeconds: number;
  readonly ageSeconds: number;
  readonly freshForSeconds: number;
  readonly body: string;
  state: 'fresh' | 'stale-usable' | 'rescue' | 'over' | 'purged';
}

export interface FakeRoute {
  readonly route: string;
  readonly requests: Readonly<Record<string, number>>;
  readonly reasons: Readonly<Record<string, number>>;
  readonly originSeconds: number;
  readonly isCached?: boolean;
  readonly readerErrors?: number;
}

export interface FakeGone {
  readonly key: string;
  readonly cause: string;
  readonly at: string;
  readonly purge: { readonly what: string; readonly mode: 'soft' | 'hard'; readonly at: string; readonly number: number } | null;
}

interface Streamed {
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  readonly isOfRequests: boolean;
}

type Body = Readonly<Record<string, unknown>>;

/** A second of a site with a thousand readers or so; `at` makes it move. */
export function secondOf(second: number, more: Readonly<Record<string, number | null>> = {}) {
  const wave = Math.round(40 * Math.sin(second / 17)) + Math.round(15 * Math.sin(second / 3.1));
  return {
    second,
    hit: 310 + wave,
    stale: 14 + (second % 5),
    miss: 22 + (second % 7),
    collapsed: 9 + (second % 3),
    pass: 31,
    refused: 0,
    shared_hits: 4 + (second % 3),
    reader_errors: 0,
    refreshes: 3,
    origin_calls: 56 + (second % 7),
    origin_seconds: 4.1 + (second % 7) * 0.2,
    origin_failures: 0,
    saved_seconds: 38 + wave / 10,
    entries: 18_342,
    bytes: 171_000_000,
    max_bytes: 268_435_456,
    evictions: 0,
    purges: 0,
    ...more,
  };
}

/** The counters of a cache, and of a tier below it, that say nothing here. */
const COUNTERS = zeros(
  'hits misses stale_served refreshes refreshes_dropped refreshes_held_back backoffs_forgotten negative_hits fetches fetch_failures collapsed ' +
    'turns_awaited turns_refused abandoned fetches_out_of_turn fetches_taken_over evictions expired too_large no_room readers_cut tags_left_out ' +
    'purges tags saved_seconds',
);
const LOWER = {
  ...zeros(
    'hits misses rescues failures left_alone unreadable writes writes_refused writes_dropped purges_outstanding purges_learnt gaps overflows ' +
      'purges_folded purges_widened renewals log_position log_behind log_behind_seconds outbox_bytes outbox_age_seconds outbox_file_bytes ' +
      'outbox_failures forks readers readers_alive replicas',
  ),
  is_trusted: true,
  is_outbox_failing: false,
  is_reconciling: false,
};
const NO_REQUESTS = zeros('hit stale miss collapsed pass refused');

function zeros(names: string): Readonly<Record<string, number>> {
  return Object.fromEntries(names.split(' ').map((name) => [name, 0]));
}

const GOODS = ['butter', 'salt', 'honey', 'flour', 'pickles', 'smoked+eel', 'rye', 'plum+jam'];

export const FAKE_ENTRIES: readonly FakeEntry[] = Array.from({ length: 240 }, (_, at) => ({
  key: at % 3 === 0 ? `https://shop.example/search?q=${GOODS[at % 8] ?? ''}&page=${at}` : `https://shop.example/posts/${at}`,
  bytes: 900 + ((at * 7919) % 90_000),
  tags: [`post:${at}`, at % 2 === 0 ? 'front-page' : 'archive'],
  route: at % 3 === 0 ? '/search' : '/posts/{id}',
  costSeconds: at % 3 === 0 ? 1.2 + at / 100 : 0.05 + at / 2000,
  ageSeconds: 20 + ((at * 13) % 400),
  freshForSeconds: 300 - ((at * 13) % 400),
  body: `<!doctype html>\n<title>Post ${at}</title>\n<p>${'Goods that keep. '.repeat(20)}</p>\n`,
  state: (at * 13) % 400 > 300 ? 'stale-usable' : 'fresh',
}));

export const FAKE_ROUTES: readonly FakeRoute[] = [
  {
    route: '/search',
    requests: { hit: 1200, stale: 40, miss: 9400, collapsed: 310, pass: 0, refused: 12 },
    reasons: { 'uri-miss': 9100, expired: 300 },
    originSeconds: 11_480,
  },
  {
    route: '/me',
    requests: { hit: 0, stale: 0, miss: 0, collapsed: 0, pass: 5200, refused: 0 },
    reasons: { 'set-cookie': 1976, cookie: 3224 },
    originSeconds: 1040,
  },
  {
    route: '/posts/{id}',
    requests: { hit: 88_000, stale: 2100, miss: 1900, collapsed: 640, pass: 0, refused: 0 },
    reasons: { 'uri-miss': 900, expired: 640, purged: 360 },
    originSeconds: 620,
  },
  {
    route: '/cart',
    requests: { hit: 0, miss: 0, pass: 2100 },
    reasons: { 'bypass-rule': 2100 },
    originSeconds: 310,
    isCached: false,
  },
  { route: '/static/**', requests: { hit: 240_000, miss: 320 }, reasons: { 'uri-miss': 320 }, originSeconds: 4 },
  { route: 'otherwise', requests: { hit: 80, miss: 61 }, reasons: { 'no-freshness': 50, status: 11 }, originSeconds: 9 },
];

export class FakeAdmin {
  /** So many answers more tell the first half of what is stored: it has not looked at all of it yet. */
  glances = 0;
  entries: FakeEntry[] = FAKE_ENTRIES.map((entry) => ({ ...entry }));
  routes: readonly FakeRoute[] = FAKE_ROUTES;
  samples: ReturnType<typeof secondOf>[] = [];
  /** What left memory, the newest first. */
  gone: FakeGone[] = [];
  /** So many more went too fast to be written down. */
  goneLeftOut = 0;
  /** An older server has none of these: parts of paths. */
  untold: readonly string[] = [];
  readToken: string | null = null;
  writeToken: string | null = null;
  isUp = true;
  hasShared = true;
  /** A gateway has a larder.toml; an application's cache has its rules in code. */
  hasConfiguration = true;
  /** Otherwise it offers no acts: 404. */
  offersStage = true;
  /** As a server says what the bodies are, and another cache beside the usual one. */
  bodiesAre = 'text';
  otherCache: string | null = null;
  /** Whether it tells single requests. */
  tellsRequests = false;
  /** Otherwise a purge has no name, and its answer is all that is told of it. */
  remembersPurges = true;
  isCutOff = false;
  /** Its one service answers nobody. */
  isShopDown = false;
  originMs = 2000;
  /** No crowd is answered until it is let go. */
  holdsCrowds = false;
  /** Everything that was asked, as `METHOD path`; the token is not among it. */
  readonly asked: string[] = [];
  /** Bodies of what was posted. */
  readonly posted: Body[] = [];
  readonly #streams = new Set<Streamed>();
  #answered = 0;
  readonly #stories: Record<string, unknown>[] = [];
  #since = new Date().toISOString();
  #uptimeSeconds = 4000;
  /** Paths that a crowd has fetched. */
  readonly #warm = new Set<string>();
  #isCrowded = false;
  #letGo: () => void = () => undefined;

  constructor(lastSecond = Math.floor(Date.now() / 1000) - 1, seconds = 700) {
    this.samples = Array.from({ length: seconds }, (_, at) => secondOf(lastSecond - seconds + 1 + at));
  }

  /** Stands in for the browser's `fetch`. */
  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : input, 'http://admin:9191/');
    const method = init.method ?? 'GET';
    await Promise.resolve();
    if (init.signal?.aborted === true) throw new DOMException('aborted', 'AbortError');
    if (!this.isUp) throw new TypeError('Failed to fetch');
    this.asked.push(`${method} ${url.pathname}${url.search}`);
    const refused = this.#refusal(method, url.pathname, new Headers(init.headers).get('authorization'));
    if (refused !== null) return refused;
    if (this.untold.some((part) => url.pathname.includes(part))) return problem(404, 'Not found', `there is nothing at ${url.pathname}`);
    return this.#answer(method, url, init);
  };

  /** A second goes by, and everybody who listens hears of it. */
  pass(more: Readonly<Record<string, number | null>> = {}): void {
    const sample = secondOf((this.samples.at(-1)?.second ?? 0) + 1, more);
    this.samples.push(sample);
    this.#tell('second', sample, String(sample.second));
    this.#tell('stats', this.#stats());
  }

  /** What is purged has reached the tier that was open. */
  settle(): void {
    for (const story of this.#stories) {
      story['tiers'] = { memory: done('memory', 1), ...(this.hasShared ? { shared: done('shared', 2) } : {}), cdn: [] };
      this.#tell('purge', story);
    }
  }

  /** What has a key that begins so leaves memory, for no purge's sake. */
  lose(prefix: string, cause: 'evicted' | 'expired' | 'replaced' | 'taken'): void {
    this.#remove(
      this.entries.filter(({ key }) => key.startsWith(prefix)),
      cause,
      null,
    );
  }

  #remove(entries: readonly FakeEntry[], cause: string, purge: FakeGone['purge']): void {
    const at = new Date().toISOString();
    this.entries = this.entries.filter((entry) => !entries.includes(entry));
    this.gone = [...entries.map(({ key }) => ({ key, cause, at, purge })), ...this.gone];
  }

  /** The crowd that was held is answered, and those to come. */
  letGo(): void {
    this.holdsCrowds = false;
    this.#letGo();
  }

  /** Another process is there, which remembers nothing of the one before. */
  restart(): void {
    this.hangUp();
    this.isUp = true;
    this.#since = new Date(Date.parse(this.#since) + 3_600_000).toISOString();
    this.#uptimeSeconds = 1;
    this.#stories.length = 0;
    this.entries = [];
    this.gone = [];
    this.routes = this.routes.map((route) => ({ ...route, requests: {}, reasons: {}, originSeconds: 0 }));
  }

  /** All streams break off. */
  hangUp(): void {
    for (const { controller } of this.#streams) controller.close();
    this.#streams.clear();
  }

  #refusal(method: string, path: string, shown: string | null): Response | null {
    if (this.readToken === null && this.writeToken === null) return null;
    const isReading = method === 'GET' || path.endsWith('/explain');
    const accepted = isReading ? [this.readToken, this.writeToken] : [this.writeToken];
    if (isReading && this.readToken === null) return null;
    if (shown === null) return problem(401, 'Token needed', 'show the token: Authorization: Bearer');
    if (accepted.some((token) => token !== null && shown === `Bearer ${token}`)) return null;
    return problem(401, 'Token needed', 'this token does not do for that request');
  }

  async #answer(method: string, url: URL, init: RequestInit): Promise<Response> {
    const path = url.pathname.replace(/^.*\/v1\//, '');
    const query = url.searchParams;
    if (method === 'POST') {
      const body = bodyOf(init);
      this.posted.push(body);
      if (path === 'purge') return this.#purge(body);
      if (path === 'explain') return this.#explain(body);
      if (path.startsWith('stage/') && this.offersStage) return this.#act(path.slice('stage/'.length), body, init.signal ?? null);
    }
    switch (path) {
      case 'events':
        if (query.get('only') === 'requests' && !this.tellsRequests) return problem(404, 'Not found', 'nothing here remembers single requests');
        return this.#events(query.get('only') === 'requests', new Headers(init.headers).get('last-event-id'), init.signal ?? null);
      case 'stats':
        return Response.json(this.#stats());
      case 'history':
        return Response.json({ every_seconds: 1, samples: this.samples });
      case 'purges':
        return Response.json({ purges: this.#stories, more: false });
      case 'routes':
        return this.#routes(query);
      case 'entries':
        return this.#entries(query);
      case 'entry':
        return this.#entry(query.get('key') ?? '');
      case 'entry/body':
        return this.#body(query.get('key') ?? '');
      case 'gone':
        return this.#goneKeys(query);
      case 'copies':
        return Response.json(this.#copies(query.get('route')));
      case 'tags':
        return Response.json(this.#tags());
      case 'instances':
        return Response.json({ instances: this.#instances() });
      case 'stage':
        return this.offersStage ? Response.json({ acts: this.#acts() }) : problem(404, 'Not found', 'this server offers no such act');
      default:
        // Those of this morning are no longer remembered.
        if (path.startsWith('requests/0')) return Response.json(pastOf(path.slice('requests/'.length), 'https://shop.example/me'));
        if (path.startsWith('requests/')) return problem(404, 'Request not known', 'no request of this id is remembered');
        if (path.startsWith('purges/')) {
          const story = this.#stories.find(({ id }) => id === path.slice('purges/'.length));
          if (story !== undefined) return Response.json(story);
        }
        return problem(404, 'Not found', `there is nothing at ${url.pathname}`);
    }
  }

  #explain(body: Body): Response {
    const policy = typeof body['policy'] === 'string' ? body['policy'] : null;
    if (policy !== null && !this.hasConfiguration) {
      return problem(422, 'Question not understood', 'policy: this cache has no configuration that another could replace');
    }
    const mistake = policy === null ? null : mistakeIn(policy);
    if (mistake !== null) return problem(422, 'Policy not understood', mistake);
    const { method, url } = body;
    const isMe = new URL(String(url)).pathname === '/me';
    const last = pastOf('0123456789abcdef0123456789abcdef', String(url));
    return Response.json({
      at: new Date().toISOString(),
      request: { method, url },
      ...told(body, this.entries, this.gone, null),
      last: isMe ? last : null,
      with_policy: policy === null ? null : told(body, this.entries, this.gone, policy),
    });
  }

  /** `lastSecond`: what came since then is told first. */
  #events(isOfRequests: boolean, lastSecond: string | null, signal: AbortSignal | null): Response {
    const streamed: { controller?: ReadableStreamDefaultController<Uint8Array> } = {};
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        streamed.controller = controller;
        this.#streams.add({ controller, isOfRequests });
        const missed = lastSecond === null ? [] : this.samples.filter(({ second }) => second > Number(lastSecond));
        for (const sample of missed) controller.enqueue(bytesOf('second', sample, String(sample.second)));
        controller.enqueue(isOfRequests ? bytesOf('requests', { requests: [], left_out: 0 }) : bytesOf('stats', this.#stats()));
      },
      cancel: () => this.#forget(streamed.controller),
    });
    signal?.addEventListener('abort', () => {
      this.#forget(streamed.controller);
      streamed.controller?.error(new DOMException('aborted', 'AbortError'));
    });
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  }

  #body(key: string): Response {
    const body = this.entries.find((entry) => entry.key === key)?.body ?? '';
    return new Response(body, { headers: { 'larder-body': this.bodiesAre } });
  }

  /** Tells single requests, as they were answered, to whoever watches them. */
  answer(...requests: readonly { readonly url: string; readonly verdict: string; readonly reason: string; readonly originSeconds?: number }[]): void {
    const told = requests.map(({ url, verdict, reason, originSeconds }, at) => ({
      ...pastOf(`${this.#answered + at}`.padStart(32, '0'), url),
      ...{ verdict, reason, seconds: (originSeconds ?? 0) + 0.001, origin_seconds: originSeconds ?? null },
      tier: originSeconds === undefined ? 'memory' : 'origin',
    }));
    this.#answered += requests.length;
    this.#tell('requests', { requests: told, left_out: 0 });
  }

  /** How many streams are open. */
  get listening(): number {
    return this.#streams.size;
  }

  /** How many watch single requests. */
  get watching(): number {
    return [...this.#streams].filter(({ isOfRequests }) => isOfRequests).length;
  }

  #forget(gone: ReadableStreamDefaultController<Uint8Array> | undefined): void {
    for (const stream of this.#streams) if (stream.controller === gone) this.#streams.delete(stream);
  }

  #tell(event: string, data: unknown, id?: string): void {
    for (const { controller, isOfRequests } of this.#streams) {
      if (isOfRequests === (event === 'requests')) controller.enqueue(bytesOf(event, data, id));
    }
  }

  #stats() {
    const last = this.samples.at(-1);
    const lower = { ...LOWER, hits: this.hasShared ? 120 : 0, readers: this.hasShared ? 2 : 0, readers_alive: this.hasShared ? 2 : 0 };
    const held = { entries: last?.entries ?? 0, bytes: last?.bytes ?? 0, max_bytes: last?.max_bytes ?? null };
    const upstreams = [{ name: 'shop', retries_elsewhere: 0, addresses: [{ address: '127.0.0.1:8001', is_up: !this.isShopDown }] }];
    const caches = ['larder', ...(this.otherCache === null ? [] : [this.otherCache])].map((name) => ({ ...COUNTERS, name, hit_rate: 0.9, ...held, lower }));
    return { uptime_seconds: this.#uptimeSeconds, caches, upstreams };
  }

  #acts() {
    const at = 'http://127.0.0.1:8080';
    return [
      { name: 'crowd', at, path: '/posts/1', takes_host: true, usual: 200, most: 1000, is_under_way: this.#isCrowded },
      ...(this.hasShared ? [{ name: 'break_shared', place: 'Redis at 127.0.0.1:6379', on: this.isCutOff }] : []),
      { name: 'slow_origin', ms: this.originMs, usual_ms: 2000, most_ms: 10_000, says: 'The backend waits 5 s for it, then gives up.' },
    ];
  }

  async #act(name: string, body: Body, signal: AbortSignal | null): Promise<Response> {
    if (name === 'crowd') return this.#crowd(body, signal);
    if (name === 'break_shared' && typeof body['on'] === 'boolean') this.isCutOff = body['on'];
    if (name === 'slow_origin') {
      const ms = Number(body['ms']);
      if (ms > 10_000) return problem(422, 'Act not understood', `"ms" is ${ms}: say 0 to 10000`);
      this.originMs = ms;
    }
    const act = this.#acts().find((known) => known.name === name);
    return act === undefined ? problem(404, 'Not found', 'this server offers no such act') : Response.json(act);
  }

  /** The first for a path is a miss, and all others wait for it; after that they are hits, until something is purged. */
  async #crowd({ path, requests }: Body, signal: AbortSignal | null): Promise<Response> {
    const [asked, count] = [String(path), Number(requests ?? 200)];
    if (count < 1 || count > 1000) return problem(422, 'Crowd not understood', `"requests" is ${count}: say 1 to 1000`);
    if (this.#isCrowded) return problem(409, 'Another crowd is under way', 'wait until it is over, then ask again');
    this.#isCrowded = true;
    try {
      if (this.holdsCrowds) {
        await new Promise<void>((resolve, reject) => {
          this.#letGo = resolve;
          signal?.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
        });
      }
    } finally {
      this.#isCrowded = false;
    }
    const isCold = !this.#warm.has(asked);
    this.#warm.add(asked);
    const verdicts = { hit: 0, stale: 0, miss: 0, collapsed: 0, pass: 0, refused: 0, ...(isCold ? { miss: 1, collapsed: count - 1 } : { hit: count }) };
    this.pass({ ...verdicts, origin_calls: verdicts.miss });
    const took_ms = isCold ? this.originMs + 4 : 3;
    return Response.json({
      requests: count,
      origin_calls: verdicts.miss,
      took_ms,
      by_verdict: verdicts,
      by_status: { 200: count },
      unanswered: 0,
    });
  }

  #routes(query: URLSearchParams): Response {
    const from = Number(query.get('after') ?? 0);
    const limit = Number(query.get('limit') ?? 50);
    const heldBy = ({ route }: FakeRoute) => this.entries.filter((entry) => entry.route === route).reduce((sum, { bytes }) => sum + bytes, 0);
    const ordered = query.get('order') === 'bytes' ? this.routes.toSorted((one, other) => heldBy(other) - heldBy(one)) : this.routes;
    const page = ordered.slice(from, from + limit).map((route) => ({
      route: route.route,
      line: 'larder.toml:12',
      upstream: 'shop',
      is_cached: route.isCached ?? true,
      requests: { ...NO_REQUESTS, ...route.requests },
      hit_ratio: ratioOf(route.requests),
      reasons: route.reasons,
      hit_seconds: (route.requests['hit'] ?? 0) > 0 ? { p50: 0.00006, p95: 0.00014, p99: 0.0004 } : null,
      miss_seconds: { p50: 0.08, p95: 0.9, p99: 1.4 },
      origin_calls: (route.requests['miss'] ?? 0) + (route.requests['pass'] ?? 0),
      origin_failures: 0,
      origin_seconds: route.originSeconds,
      evicted: 0,
      shared_hits: 0,
      reader_errors: route.readerErrors ?? 0,
      saved_seconds: (route.requests['hit'] ?? 0) * 0.07,
      entries: this.entries.filter((entry) => entry.route === route.route).length,
      bytes: heldBy(route),
      max_bytes: null,
      fetches_now: 0,
      waiting: 0,
      limited: route.requests['refused'] ?? 0,
      fetches_refused: 0,
    }));
    const next = from + limit < this.routes.length ? String(from + limit) : null;
    const at = new Date().toISOString();
    return Response.json({ at, since: this.#since, total: this.routes.length, routes: page, next });
  }

  #chosen(query: URLSearchParams): FakeEntry[] {
    const [part, tag, route] = [query.get('contains') ?? '', query.get('tag'), query.get('route')];
    const prefix = query.get('prefix') ?? '';
    return this.entries.filter(
      (entry) =>
        entry.key.includes(part) &&
        entry.key.startsWith(prefix) &&
        (tag === null || entry.tags.includes(tag)) &&
        (route === null || entry.route === route),
    );
  }

  #entries(query: URLSearchParams): Response {
    const is_complete = this.glances === 0;
    this.glances = Math.max(0, this.glances - 1);
    const all = this.#chosen(query);
    const chosen = is_complete ? all : all.slice(0, all.length / 2);
    const bytes = chosen.reduce((sum, entry) => sum + entry.bytes, 0);
    const by = {
      bytes: (entry: FakeEntry) => -entry.bytes,
      age: (entry: FakeEntry) => -entry.ageSeconds,
      expires: (entry: FakeEntry) => entry.freshForSeconds,
    }[query.get('order') ?? ''];
    const measure = by ?? ((entry: FakeEntry) => -entry.costSeconds);
    const byKey = query.get('order') === 'key';
    chosen.sort((one, other) => (byKey ? Number(one.key > other.key) - Number(one.key < other.key) : measure(one) - measure(other)));
    const from = Number(query.get('after') ?? 0);
    const limit = Number(query.get('limit') ?? 50);
    const next = from + limit < chosen.length ? String(from + limit) : null;
    const entries = chosen.slice(from, from + limit).map(entryView);
    return Response.json({ snapshot_at: new Date().toISOString(), total: chosen.length, bytes, is_complete, entries, next });
  }

  #entry(key: string): Response {
    const entry = this.entries.find((known) => known.key === key);
    if (entry === undefined) return problem(404, 'Entry not known', 'nothing is stored under this key');
    return Response.json({
      ...entryView(entry),
      variants_held: [
        {
          status: 200,
          fields: [
            ['content-type', 'text/html; charset=utf-8'],
            ['cache-control', 'max-age=300'],
            ['etag', '"5f3a"'],
            ['set-cookie', '(hidden)'],
          ],
          differs_by: [['accept-encoding', 'br']],
          body_bytes: entry.bytes,
          codings: [],
          state: entry.state,
          age_seconds: entry.ageSeconds,
          fresh_for_seconds: entry.freshForSeconds,
          stale_while_revalidate_seconds: 60,
          stale_if_error_seconds: 600,
        },
      ],
    });
  }

  #goneKeys(query: URLSearchParams): Response {
    const [key, prefix] = [query.get('key'), query.get('prefix') ?? ''];
    if (key !== null && prefix !== '') return problem(400, 'Question not understood', 'say "key" or "prefix", not both');
    const route = query.get('route');
    const routeOf = (one: FakeGone) => (one.key.includes('/search?') ? '/search' : '/posts/{id}');
    const chosen = this.gone
      .filter((one) => (key === null ? one.key.startsWith(prefix) : one.key === key))
      .filter((one) => route === null || routeOf(one) === route);
    const limit = key === null ? Number(query.get('limit') ?? 50) : 1;
    const gone = chosen.slice(0, limit).map((one) => ({ cache: 'larder', ...one }));
    const by_cause: Record<string, number> = {};
    for (const { cause } of chosen) by_cause[cause] = (by_cause[cause] ?? 0) + 1;
    return Response.json({ gone, by_cause, left_out: this.goneLeftOut });
  }

  /** Those by `utm_source` alone. */
  #copies(route: string | null) {
    const of = this.entries.filter((entry) => (route === null || entry.route === route) && entry.key.includes('utm_source='));
    const bytes = of.reduce((sum, entry) => sum + entry.bytes, 0);
    const most = { page: of[0]?.key.replace(/\?.*/, '') ?? '', entries: of.length, bytes, route: of[0]?.route ?? null };
    const copies = { cache: 'larder', parameter: 'utm_source', is_tracking: true, entries: of.length, bytes, pages: 1, spare_bytes: bytes, most };
    const looked = { snapshot_at: new Date().toISOString(), looked_at: this.entries.length, total: this.entries.length };
    return { ...looked, copies: of.length > 1 ? [copies] : [] };
  }

  /** Links to one page have brought so many copies of it. */
  copy(page: string, times: number): void {
    const one = this.entries.find(({ key }) => key === page);
    if (one === undefined) throw new Error('it is stored');
    this.entries = [...Array.from({ length: times }, (_, at) => ({ ...one, key: `${page}?utm_source=${at}` })), ...this.entries];
  }

  #tags() {
    const tags = ['front-page', 'archive', 'post:1', 'post:2'].map((tag) => {
      const tagged = this.entries.filter((entry) => entry.tags.includes(tag));
      return { tag, entries: tagged.length, bytes: tagged.reduce((sum, { bytes }) => sum + bytes, 0), last_purge: null };
    });
    return { snapshot_at: new Date().toISOString(), total: 242, tags, left_out: 0, next: null };
  }

  #instances() {
    if (!this.hasShared) return [];
    const one = { alive: true, cursor: 812, behind: 0, entries: 18_342, bytes: 171_000_000, seen_seconds_ago: 1.2 };
    return [
      { ...one, name: 'gw-1', is_self: true },
      { ...one, name: 'gw-2', is_self: false, behind: 1 },
    ];
  }

  #named(body: Body): FakeEntry[] {
    const [keys, prefix, tags] = [body['keys'], body['prefix'], body['tags']];
    return this.entries.filter((entry) => {
      const spelt = [entry.key, entry.key.replace(/^https?:/, '')];
      if (Array.isArray(keys)) return keys.some((key) => spelt.includes(String(key)));
      if (typeof prefix === 'string') return spelt.some((key) => key.startsWith(prefix));
      if (Array.isArray(tags)) return tags.some((tag) => entry.tags.includes(String(tag)));
      return body['all'] === true;
    });
  }

  #purge(body: Body): Response {
    const named = this.#named(body);
    if (body['dry_run'] === true) {
      const bytes = named.reduce((sum, entry) => sum + entry.bytes, 0);
      return Response.json({ dry_run: true, would: { entries: named.length, bytes }, dated: new Date().toISOString() });
    }
    const told = Object.entries(body).find(([name]) => name !== 'mode');
    const what = told === undefined || told[0] === 'all' ? 'everything' : `${told[0].replace(/s$/, '')} ${String(told[1])}`;
    const number = this.#stories.length + 1;
    if (body['mode'] === 'hard') this.#remove(named, 'purged', { what, mode: 'hard', at: new Date().toISOString(), number });
    else for (const entry of named) entry.state = 'purged';
    const story = {
      id: `purge-${number}`,
      what: [what],
      purges: 1,
      mode: body['mode'],
      at: new Date().toISOString(),
      by: 'admin API, 127.0.0.1',
      tiers: {
        memory: done('memory', 1),
        ...(this.hasShared ? { shared: { tier: 'shared', state: 'queued' } } : {}),
      },
    };
    this.#warm.clear();
    const receipt = { cache: 'larder', what, mode: body['mode'], number, at: story.at, tiers: Object.values(story.tiers) };
    if (!this.remembersPurges) return Response.json({ purged: Array.isArray(body['tags']) ? null : named.length, mode: body['mode'], receipts: [receipt] });
    this.#stories.push(story);
    this.#tell('purge', story);
    return Response.json({ purged: Array.isArray(body['tags']) ? null : named.length, receipts: [receipt], ...story });
  }
}

function pastOf(id: string, url: string) {
  const answered = { status: 200, seconds: 0.21, origin_seconds: 0.2, tier: 'origin' };
  const why = { verdict: 'miss', reason: 'set-cookie', says: 'The answer sets a cookie.' };
  return { id, at: new Date().toISOString(), method: 'GET', url, route: '/me', ...why, ...answered };
}

function entryView(entry: FakeEntry) {
  return {
    cache: 'larder',
    key: entry.key,
    bytes: entry.bytes,
    age_seconds: entry.ageSeconds,
    state: entry.state,
    fresh_for_seconds: entry.freshForSeconds,
    stale_while_revalidate_seconds: 60,
    stale_if_error_seconds: 600,
    tags: entry.tags,
    cost_seconds: entry.costSeconds,
    heat: entry.bytes % 3 === 0 ? 'hot' : 'cold',
    route: entry.route,
    variants: 1,
  };
}

function done(tier: string, of: number) {
  return { tier, state: 'applied', by: of, of };
}

function ratioOf(requests: Readonly<Record<string, number>>): number | null {
  const { hit = 0, stale = 0, collapsed = 0, miss = 0 } = requests;
  const all = hit + stale + collapsed + miss;
  return all === 0 ? null : (hit + stale + collapsed) / all;
}

/** The one key that is misspelt, as a gateway tells it. */
function mistakeIn(policy: string): string | null {
  const lines = policy.split('\n');
  const at = lines.findIndex((line) => line.trimStart().startsWith('ttll'));
  const line = lines[at];
  if (line === undefined) return null;
  const gutter = ' '.repeat(String(at + 1).length);
  return `policy:${at + 1}:1: unknown key "ttll"\n  ${at + 1} | ${line}\n  ${gutter} | ^\n  expected: one of ttl, tags\n  example: ttl = "5m"`;
}

const RULES = [
  { rule: 'ttl', value: '5m', line: 'larder.toml:14' },
  { rule: 'query_deny', value: '["tracking"]', line: 'larder.toml:15' },
];

/** What stands in another file: each `name = value`. */
function rulesIn(policy: string) {
  return policy.split('\n').flatMap((line, at) => {
    const [, rule, value] = /^\s*(\w+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    return rule === undefined || value === undefined ? [] : [{ rule, value: value.replace(/^"(.*)"$/, '$1'), line: `policy:${at + 1}` }];
  });
}

/**
 * As the cache would: what is stored under the URL without what advertisements add is a hit, unless a cookie comes along, and
 * matters. `policy`: the text of other rules.
 */
function personalOf(fields: readonly string[][]) {
  const lines = fields.filter(([name]) => name?.toLowerCase() === 'cookie').map(([, value]) => value ?? '');
  const cookies = lines.flatMap((line) => line.split(';').map((cookie) => cookie.replace(/=.*/, '').trim()));
  const mayGo = cookies.filter((name) => !/sid|sess/.test(name));
  const remedy = mayGo.length === 0 ? null : `ignore_cookies = [${mayGo.map((name) => `"${name}"`).join(', ')}]`;
  return { cookies, says: `The cookies ${cookies.join(', ')} make this look like one person’s request.`, remedy };
}

function told({ url, method, headers }: Body, entries: readonly FakeEntry[], gone: readonly FakeGone[], policy: string | null) {
  const asked = new URL(String(url));
  const fields = Array.isArray(headers) ? headers.map((field: unknown) => (Array.isArray(field) ? field.map(String) : [])) : [];
  const rules = policy === null ? RULES : rulesIn(policy);
  const cookiesMatter = !rules.some(({ rule, value }) => rule === 'cookies_matter' && value === 'false');
  const hasCookie = cookiesMatter && fields.some(([name]) => name?.toLowerCase() === 'cookie');
  const leftOut = [...asked.searchParams.keys()].filter((name) => name.startsWith('utm_'));
  for (const name of leftOut) asked.searchParams.delete(name);
  const key = asked.href;
  const entry = entries.find((known) => known.key === key);
  const went = entry === undefined ? gone.find((one) => one.key === key) : undefined;
  const near = entries.find((known) => new URL(known.key).pathname === asked.pathname && known.key !== key);
  const reason = hasCookie ? 'cookie' : method !== 'GET' && method !== 'HEAD' ? 'method' : entry === undefined ? 'uri-miss' : 'hit';
  const verdict = { cookie: 'pass', method: 'pass', 'uri-miss': 'miss', hit: 'hit' }[reason];
  const says = {
    cookie: 'The request carries a cookie, so its answer is its reader’s alone.',
    method: 'Answers to this method are not stored.',
    'uri-miss': 'Nothing is stored under this key.',
    hit: 'A fresh copy is stored.',
  }[reason];
  return {
    route: { route: '/posts/{id}', line: policy === null ? 'larder.toml:12' : 'policy:1', upstream: 'shop', is_cached: true, rules },
    key: {
      key,
      parts: [
        { part: 'scheme', name: null, value: asked.protocol.replace(':', ''), from: 'the URL' },
        { part: 'host', name: null, value: asked.host, from: 'the URL' },
        { part: 'path', name: null, value: asked.pathname, from: 'the URL' },
        ...[...asked.searchParams].map(([name, value]) => ({ part: 'query', name, value, from: 'the URL' })),
      ],
      left_out: leftOut.map((name) => ({ part: 'query', name, why: 'tracking parameter' })),
    },
    tiers: [
      {
        tier: 'memory',
        holds: entry === undefined ? 'nothing' : 'this',
        says: entry === undefined ? 'Nothing is stored here.' : 'One copy is stored.',
        variants:
          entry === undefined
            ? []
            : [
                {
                  differs_by: [['accept-encoding', 'br']],
                  status: 200,
                  age_seconds: entry.ageSeconds,
                  fresh_for_seconds: entry.freshForSeconds,
                  state: entry.state,
                  is_chosen: reason === 'hit',
                },
              ],
      },
      { tier: 'shared', holds: 'nothing', says: 'It is asked by fetches only.', variants: [] },
    ],
    flight: null,
    verdict: { verdict, reason, says },
    personal: hasCookie ? personalOf(fields) : null,
    next: {
      asks_origin: reason !== 'hit',
      says: reason === 'hit' ? 'The next request is answered from memory.' : 'The next request asks shop, and its answer is stored for 5 minutes.',
    },
    looked: null,
    nearest:
      entry !== undefined || near === undefined
        ? []
        : [{ key: near.key, differs: [{ part: 'query', name: 'page', asked: null, stored: '2' }], says: 'It differs only in page.' }],
    gone: went === undefined ? null : { cause: went.cause, at: went.at, says: `${went.cause} 0 s ago${went.purge === null ? '' : ` by ${went.purge.what}`}` },
  };
}

function bodyOf({ body }: RequestInit): Body {
  const value: unknown = JSON.parse(typeof body === 'string' ? body : '{}');
  return isRecord(value) ? value : {};
}

function bytesOf(event: string, data: unknown, id?: string): Uint8Array {
  const idLine = id === undefined ? '' : `id: ${id}\n`;
  return new TextEncoder().encode(`event: ${event}\n${idLine}data: ${JSON.stringify(data)}\n\n`);
}

function problem(status: number, title: string, detail: string): Response {
  return Response.json({ type: 'about:blank', title, status, detail }, { status });
}
