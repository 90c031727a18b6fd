// Why answers were not hits, in words, and what to do about it.

export interface ReasonWords {
  /** Ends a sentence that begins “… because”. */
  readonly because: string;
  /** What would mend it, keys between backticks; `null` where it is as it should be. */
  readonly remedy: string | null;
}

const WORDS: Readonly<Record<string, ReasonWords>> = {
  'uri-miss': {
    because: 'nothing was stored for them',
    remedy: 'They came for the first time, or what was stored for them had gone (Entries, What went lately). If each URL comes once only because links differ in `utm_source` and its kin, leave those out of the key: `query_deny = ["tracking"]` in the route knows the usual ones, and takes names of your own.',
  },
  expired: {
    because: 'what was stored had expired',
    remedy: 'For how long, the answer says (`max-age`): have the origin say more, or overrule it in the route: `ttl_override = "10m"`. `ttl` is for answers that say nothing. Or let old copies be served while a new one is fetched: `stale_while_revalidate`.',
  },
  'vary-miss': {
    because: 'it was stored for other request fields (Vary)',
    remedy: 'Each value is a copy of its own: have the origin vary by fewer fields.',
  },
  'set-cookie': {
    because: 'the answer sets a cookie (Set-Cookie)',
    remedy: 'See in the answer which cookie (`Set-Cookie`). If it is analytics (`_ga`, say), have the answer stored without it: `set_cookie = "store-without"` in the route. If it is a login, this is as it should be.',
  },
  cookie: {
    because: 'the request carried a cookie',
    remedy: 'If it is analytics, ignore it: `ignore_cookies = ["analytics"]`. If the answer is the same for everybody: `cookies_matter = false`. If it is a login, this is as it should be.',
  },
  authorization: {
    because: 'the request carried credentials (Authorization)',
    remedy: 'Such answers are for one reader each. If they are not, have the origin say `Cache-Control: public`.',
  },
  private: {
    because: 'the answer says that it is for one reader only (private)',
    remedy: 'If it is a page of one’s own (an account, a basket), this is as it should be. If it is the same for everybody, have the origin say `public`.',
  },
  'no-store': {
    because: 'the answer says that it must not be stored (no-store)',
    remedy: 'Many frameworks say so unasked. If it is the same for everybody, have the origin say `max-age`.',
  },
  'no-cache': {
    because: 'the answer must be validated each time (no-cache)',
    remedy: 'An `ETag` makes that cheap. If it need not be that fresh, have the origin say `max-age`.',
  },
  'no-freshness': {
    because: 'the answer does not say for how long it is fresh',
    remedy: 'Give the route a `ttl` (`ttl = "5m"`), or have the origin send `Cache-Control: max-age`.',
  },
  'request-no-cache': {
    because: 'the reader asked for a new answer (a browser’s reload)',
    remedy: 'If readers must not force that: `obey_readers = false` in the route.',
  },
  'request-no-store': {
    because: 'the request says that its answer must not be stored',
    remedy: 'If readers must not force that: `obey_readers = false` in the route.',
  },
  'request-max-age': { because: 'the reader wanted a younger answer', remedy: null },
  'request-min-fresh': { because: 'the reader wanted one that stays fresh for longer', remedy: null },
  'only-if-cached': { because: 'the reader wanted a stored answer or none', remedy: null },
  'bypass-rule': { because: 'a rule keeps the cache out', remedy: 'If they should be cached, take `cache = false` out of the route.' },
  method: { because: 'their method changes things (POST, say)', remedy: null },
  status: { because: 'the answer’s status is not one to store', remedy: 'Some can be kept for a short time, so that not everybody asks for a broken page: `ttl_by_status = { "404" = "10s" }`, say.' },
  'not-storable': { because: 'the answer is of a kind that is not stored', remedy: null },
  'must-understand': { because: 'only a cache that knows this status may store it', remedy: null },
  'too-large': { because: 'the answer is larger than an entry may be', remedy: 'Raise `max_body`, if the memory has room for such answers.' },
  'no-room': { because: 'there was no room at that moment', remedy: 'Give the cache more memory.' },
  'too-many-tags': { because: 'the answer has more tags than an entry may', remedy: 'Have the origin send fewer tags.' },
  purged: { because: 'it was purged', remedy: 'Purge softly: stale copies serve while the new one is fetched. Or purge less: a tag instead of everything.' },
  evicted: { because: 'it was evicted to make room', remedy: 'Give the cache more memory, or see in Entries what fills it.' },
  unsure: { because: 'the shared tier has not been heard of for too long', remedy: 'See whether Redis answers.' },
  'origin-error': { because: 'the origin failed', remedy: 'See the origin’s own log. Of what is stored, a longer `stale_if_error` serves old copies meanwhile.' },
  'partial-miss': { because: 'only another part of it was stored', remedy: null },
  precondition: { because: 'the reader wanted another version', remedy: null },
  'vary-star': { because: 'the answer depends on more than its request (Vary: *)', remedy: 'Have the origin name the fields that it depends on.' },
  'content-range': { because: 'the answer is a part of something, and does not say which', remedy: null },
  endless: { because: 'the answer has no end (a stream)', remedy: 'Say `stream = true` in the route: then it takes no turn of others.' },
  'unusual-request': { because: 'the error may be the request’s own doing', remedy: null },
  'transfer-coding': { because: 'the answer was in a coding that was not undone', remedy: null },
  'path-type': { because: 'the answer is of another kind than its path looks like', remedy: 'Somebody may be after other people’s pages (/account/x.css). If that is how the application names things, say `path_type = "any"`.' },
  spelling: { because: 'the URL was spelt otherwise than its key', remedy: 'Whoever links there should spell it as it is stored.' },
  'no-key': { because: 'no key can be made of the URL: it is longer than 8 KiB, has dot segments (`/../`), or bytes that no URL has', remedy: 'Whoever links there should write the path that is meant.' },
  'stale-while-revalidate': { because: 'an old copy was served while a new one was fetched', remedy: null },
  'stale-if-error': { because: 'an old copy was served because the origin failed', remedy: 'See the origin’s own log.' },
  'soft-timeout': { because: 'an old copy was served because the origin took too long', remedy: 'The origin is slow: see its latency.' },
  'max-stale': { because: 'the reader takes old copies', remedy: null },
  collapsed: { because: 'another request was fetching the same', remedy: null },
  shared: { because: 'it came from the shared tier', remedy: null },
};

/** A word that a newer server has is shown as it is. */
export function reasonWords(reason: string): ReasonWords {
  return WORDS[reason] ?? { because: reason, remedy: null };
}
