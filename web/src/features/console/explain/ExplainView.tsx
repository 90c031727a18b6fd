// Explain: a request that nobody makes, and what would become of it; then the same with something changed, or by other rules.
import { useEffect, useId, useState } from 'react';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { ActionButton } from '../../../ui/ActionButton';
import { cutLong } from '../../../ui/cutLong';
import { useApi } from '../api/ApiContext';
import { explain } from '../api/explain';
import type { Explanation, Request } from '../api/explain';
import { useKept } from '../frame/kept';
import { Loaded } from '../frame/Loaded';
import { go, hrefOf } from '../place';
import { changesOf } from './changes';
import { Compared } from './Compared';
import { readPasted } from './curl';
import { ExplanationTree } from './ExplanationTree';
import type { Asked } from './keptExplain';
import { NO_RULES } from './policy';
import type { OtherRules } from './policy';
import { PastRequest } from './PastRequest';
import { PolicyField } from './PolicyField';
import { RequestEditor } from './RequestEditor';
import { useAddress } from './useAddress';
import './ExplainView.css';

interface Props {
  readonly query: URLSearchParams;
}

/** Whoever types is not finished with each letter. */
const PAUSE_MS = 300;

export function ExplainView({ query }: Props) {
  const id = useId();
  const given = query.get('request') ?? query.get('url') ?? '';
  const kept = useKept();
  /** What stood here when it was left, unless something else is asked about now. */
  const [before] = useState(() => (given === '' || kept.explain?.given === given ? kept.explain : null));
  const [seen, setSeen] = useState(given);
  const [text, setText] = useState(before?.text ?? given);
  const [asked, setAsked] = useState<Asked | null>(() => (before === null ? askedIn(given) : before.asked));
  const [edited, setEdited] = useState<Request | null>(before?.edited ?? null);
  // Somebody has gone back, or followed a link.
  if (seen !== given) {
    setSeen(given);
    setText(given);
    setAsked(askedIn(given));
    setEdited(null);
  }
  /** They stay while one asks about other requests. */
  const [rules, setRules] = useState(before?.rules ?? NO_RULES);
  useEffect(() => {
    kept.keepExplain({ given, text, asked, edited, rules });
  });
  const isPathAlone = /^\s*\/(?!\/)/.test(text);
  const { address, stored } = useAddress(asked === null || isPathAlone);
  const pasted = readPasted(text, address);
  const ask = () => {
    if (pasted.kind === 'past') {
      setAsked(pasted);
      setSeen(pasted.id);
      go(hrefOf('explain', { request: pasted.id }));
    }
    if (pasted.kind !== 'request') return;
    const { request } = pasted;
    setAsked({ kind: 'request', request: { ...request } });
    setEdited(null);
    // A URL can be gone back to and sent on. Fields may be somebody's secrets, and stand in no address.
    const isUrl = request.method === 'GET' && request.headers.length === 0;
    const address = isUrl ? request.url : '';
    setSeen(address);
    go(hrefOf('explain', { url: address }));
  };
  return (
    <div className="explain">
      <form
        className="explain-ask"
        onSubmit={(event) => {
          event.preventDefault();
          ask();
        }}
      >
        <div className="field field-code">
          <label htmlFor={id}>A URL, or a line of curl (browsers copy one from their network panel), or the Larder-Request of an answer</label>
          <textarea
            id={id}
            rows={text.length > 160 || text.includes('\n') ? 5 : 2}
            value={text}
            spellCheck={false}
            autoCapitalize="none"
            placeholder="curl 'https://shop.example/me' -H 'cookie: session=1'"
            aria-describedby={`${id}-note`}
            onChange={(event) => setText(event.target.value)}
            onKeyDown={(event) => {
              if (event.key !== 'Enter' || event.shiftKey) return;
              event.preventDefault();
              ask();
            }}
          />
        </div>
        <p id={`${id}-note`} className="soft explain-note">
          {pasted.kind === 'unreadable'
            ? pasted.why
            : pasted.kind === 'request' && pasted.leftOut.length > 0
              ? `Left out: ${pasted.leftOut.join(', ')}.`
              : isPathAlone && pasted.kind === 'request'
                ? `Of a path alone it is ${pasted.request.url}, where readers reach this gateway. Nothing is sent to the origin.`
                : 'Nothing is sent to the origin, and nothing is stored.'}
        </p>
        <ActionButton
          rank="main"
          resting={pasted.kind !== 'request' && pasted.kind !== 'past'}
          describedBy={`${id}-note`}
          onPress={ask}
        >
          Explain
        </ActionButton>
      </form>
      {asked === null ? (
        <Examples urls={stored} />
      ) : asked.kind === 'past' ? (
        <PastRequest key={asked.id} id={asked.id} />
      ) : (
        <Explained
          key={keyOf(asked.request)}
          first={asked.request}
          edited={edited ?? asked.request}
          onEdited={setEdited}
          rules={rules}
          onRules={setRules}
        />
      )}
    </div>
  );
}

interface ExamplesProps {
  readonly urls: readonly string[];
}

/** Something to begin with. */
function Examples({ urls }: ExamplesProps) {
  if (urls.length === 0) return null;
  return (
    <section aria-labelledby="examples-title">
      <h3 id="examples-title">For instance, of what is stored</h3>
      <ul className="plain-list">
        {urls.map((url) => (
          <li key={url}>
            <a href={hrefOf('explain', { url })} className="mono breaks" title={url}>
              {cutLong(url)?.cut ?? url}
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}

interface ExplainedProps {
  /** As it was pasted: what is changed is compared with it. */
  readonly first: Request;
  readonly edited: Request;
  readonly onEdited: (edited: Request) => void;
  readonly rules: OtherRules;
  readonly onRules: (rules: OtherRules) => void;
}

function Explained({ first, edited, onEdited, rules, onRules }: ExplainedProps) {
  const request = usePaused(edited);
  const pausedRules = usePaused(rules);
  // Both are asked at the same moment: what has happened since the first was asked is not the change's doing.
  const before = useExplanation(first, keyOf(request));
  const after = useExplanation(request, keyOf(request));
  const isChanged = keyOf(request) !== keyOf(first);
  return (
    <>
      <RequestEditor request={edited} onChange={onEdited} onReset={isChanged ? () => onEdited(first) : null} />
      {isChanged && before.data !== undefined && after.data !== undefined && !before.isPlaceholderData && !after.isPlaceholderData ? (
        <Changes before={before.data} after={after.data} />
      ) : null}
      <Loaded query={after} what="why it answers as it does">
        {(explanation) => <ExplanationTree title="What would become of it" told={explanation} last={explanation.last} />}
      </Loaded>
      {hasNoFile(after.data) ? null : <PolicyField rules={rules} onChange={onRules} />}
      {hasNoFile(after.data) || rules.text.trim() === '' || pausedRules.text.trim() === '' || after.error !== null ? null : (
        <Compared request={request} rules={pausedRules} />
      )}
    </>
  );
}

/** Rules that stand in no file: an application has them in its code, and no other file could take their place. */
function hasNoFile(told: Explanation | undefined): boolean {
  const rules = told?.route?.rules ?? [];
  return rules.length > 0 && rules.every(({ line }) => line === null);
}

/** `beside`: with which other one it is compared. */
function useExplanation(request: Request, beside: string) {
  const api = useApi();
  return useQuery({
    queryKey: ['explain', keyOf(request), beside],
    queryFn: ({ signal }) => explain(api, request, null, signal),
    // The tree stays while the next one is on its way, and does not flicker.
    placeholderData: keepPreviousData,
    // What was so a moment ago need not be so now.
    staleTime: 0,
    gcTime: 60_000,
  });
}

interface ChangesProps {
  readonly before: Explanation;
  readonly after: Explanation;
}

function Changes({ before, after }: ChangesProps) {
  const changes = changesOf(before, after);
  return (
    <section className="part changes" aria-labelledby="changes-title" role="status">
      <header className="part-head">
        <h2 id="changes-title">What your change changes</h2>
      </header>
      {changes.length === 0 ? (
        <p className="soft">Nothing: the cache does the same.</p>
      ) : (
        <ul className="plain-list">
          {changes.map(({ what, before: was, after: is }) => (
            <li key={what} className="breaks">
              <b>{what}</b> <del>{was}</del> <span aria-hidden="true">→</span> <ins>{is}</ins>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function askedIn(text: string): Asked | null {
  const pasted = readPasted(text);
  return pasted.kind === 'request' || pasted.kind === 'past' ? pasted : null;
}

function keyOf({ method, url, headers }: Request): string {
  return JSON.stringify([method, url, headers]);
}

function usePaused<T>(value: T): T {
  const [paused, setPaused] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setPaused(value), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return paused;
}
