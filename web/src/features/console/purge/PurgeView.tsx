// Purge: what, how softly, what that will touch; and the receipt, filled tier by tier.
import { useMutation, useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { ActionButton } from '../../../ui/ActionButton';
import { Field } from '../../../ui/Field';
import { bytes, plural } from '../../../ui/format';
import { Notice } from '../../../ui/Notice';
import { Segments } from '../../../ui/Segments';
import { AskFailed } from '../../../wire/ask';
import { useApi } from '../api/ApiContext';
import { fetchHostWithPort } from '../api/entries';
import { purge, tryPurge } from '../api/purges';
import type { Mode, Target, Would } from '../api/purges';
import { problemOf } from '../api/trouble';
import { Instances } from '../frame/Instances';
import { StoryRow } from '../frame/StoryRow';
import { useLive } from '../live/useLive';
import { Receipt } from './Receipt';
import { hostAlone, isPathAlone, KIND_NAMES, KIND_WORDS, KINDS, targetOf } from './target';
import type { Kind } from './target';
import './PurgeView.css';

interface Wish {
  readonly target: Target;
  readonly mode: Mode;
  /** The only one that is meant. */
  readonly cache: string | null;
  /** So many entries it would touch, as was told beforehand. */
  readonly foreseen: number | null;
}

interface Props {
  readonly query: URLSearchParams;
}

const KIND_OPTIONS = KINDS.map((value) => ({ value, name: KIND_NAMES[value] }));
const MODE_OPTIONS = [
  { value: 'soft', name: 'Soft: stale' },
  { value: 'hard', name: 'Hard: gone' },
] as const;

/** No cache is called so: each has a name. */
const ALL = '';
/** Whoever types is not finished with each letter. */
const PAUSE_MS = 300;

export function PurgeView({ query }: Props) {
  const api = useApi();
  const live = useLive();
  const [kind, setKind] = useState<Kind>(() => KINDS.find((known) => known === query.get('kind')) ?? 'tag');
  const [text, setText] = useState(query.get('name') ?? '');
  const [mode, setMode] = useState<Mode>('soft');
  const caches = (live.stats?.caches ?? []).map(({ name }) => name);
  const [chosen, setChosen] = useState(ALL);
  const cache = caches.length > 1 && caches.includes(chosen) ? chosen : null;
  const wanted = targetOf(kind, text);
  const target = wanted.kind === 'target' ? wanted.target : null;
  const made = useMutation({ mutationFn: ({ target: what, mode: how, cache: where }: Wish) => purge(api, what, how, where) });
  // What a purge has touched is not there any more.
  const would = useWould(target, mode, cache, made.isSuccess ? made.submittedAt : 0);
  const withPort = useHostWithPort(would.kind === 'told' && would.would.entries === 0 ? hostAlone(target) : null);
  const words = kind === 'all' ? null : KIND_WORDS[kind];

  return (
    <div className="purge">
      <form
        className="purge-form"
        onSubmit={(event) => {
          event.preventDefault();
        }}
      >
        <Segments label="What" options={KIND_OPTIONS} value={kind} onChoose={setKind} />
        {words === null ? (
          <p className="soft">{cache === null ? 'Every entry of every cache here.' : `Every entry of ${cache}.`}</p>
        ) : (
          <Field
            label={words.label}
            isCode
            isLines
            value={text}
            placeholder={words.placeholder}
            hint={words.hint}
            fault={wanted.kind === 'unreadable' ? wanted.why : null}
            onChange={setText}
          />
        )}
        {caches.length < 2 ? null : (
          <Segments
            label="Of which cache"
            options={[{ value: ALL, name: 'All' }, ...caches.map((name) => ({ value: name, name }))]}
            value={cache ?? ALL}
            onChoose={setChosen}
          />
        )}
        <Segments label="How" options={MODE_OPTIONS} value={mode} onChoose={setMode} />
        <p className="soft">
          {mode === 'soft'
            ? 'It becomes stale: it may be served once more while it is fetched anew, and still serves where the origin fails.'
            : 'Nothing is left of it: if the origin fails then, so does the reader.'}
        </p>
        <p className="purge-would figures" role="status">
          {wouldWords(target, would)}
          {withPort === null ? '' : ` Keys are stored for ${withPort}: the port belongs to the name.`}
        </p>
        <PurgeButton
          key={JSON.stringify([target, mode, cache])}
          label={labelOf(would)}
          isGrave={kind === 'all' || mode === 'hard'}
          resting={target === null || made.isPending}
          onPurge={() => {
            if (target !== null) made.mutate({ target, mode, cache, foreseen: would.kind === 'told' ? would.would.entries : null });
          }}
        />
      </form>

      <div className="purge-told">
        {made.error === null ? null : <Notice {...problemOf(made.error, 'what came of it')} />}
        {made.data === undefined ? null : <Receipt key={made.submittedAt} purged={made.data} mode={made.variables.mode} foreseen={made.variables.foreseen} />}
        <section className="part" aria-labelledby="purges-title">
          <header className="part-head">
            <h2 id="purges-title">What was purged</h2>
          </header>
          {live.purges.length === 0 ? (
            <p className="soft">{made.data === undefined ? 'Nothing that this server remembers.' : 'It will stand here in a moment.'}</p>
          ) : (
            <ul className="plain-list rows">
              {live.purges.map((story) => (
                <li key={story.id}>
                  <StoryRow story={story} now={(live.samples.at(-1)?.second ?? Date.parse(story.at) / 1000) * 1000} />
                </li>
              ))}
            </ul>
          )}
        </section>
        <Instances />
      </div>
    </div>
  );
}

interface ButtonProps {
  readonly label: string;
  /** It takes a second press. */
  readonly isGrave: boolean;
  readonly resting: boolean;
  readonly onPurge: () => void;
}

function PurgeButton({ label, isGrave, resting, onPurge }: ButtonProps) {
  const [isAsked, setAsked] = useState(false);
  if (!isAsked || resting) {
    return (
      <ActionButton rank="main" resting={resting} onPress={() => (isGrave ? setAsked(true) : onPurge())}>
        {label}
      </ActionButton>
    );
  }
  return (
    <div className="purge-sure">
      <span>This cannot be taken back.</span>
      <ActionButton
        rank="main"
        onPress={() => {
          setAsked(false);
          onPurge();
        }}
      >
        {`Yes: ${label.charAt(0).toLowerCase()}${label.slice(1)}`}
      </ActionButton>
      <ActionButton onPress={() => setAsked(false)}>No</ActionButton>
    </div>
  );
}

type WouldView =
  | { readonly kind: 'unasked' }
  | { readonly kind: 'asked' }
  | { readonly kind: 'told'; readonly would: Would }
  | { readonly kind: 'untold'; readonly why: string };

/** What it would touch, once one pauses. */
function useWould(target: Target | null, mode: Mode, cache: string | null, purgedAt: number): WouldView {
  const api = useApi();
  const wanted = target === null ? null : JSON.stringify([target, mode, cache]);
  const [paused, setPaused] = useState<string | null>(null);
  useEffect(() => {
    const timer = setTimeout(() => setPaused(wanted), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [wanted]);
  const { data, error } = useQuery({
    queryKey: ['would', wanted, purgedAt],
    enabled: target !== null && paused === wanted,
    queryFn: ({ signal }) => {
      if (target === null) throw new Error('nothing is asked for');
      return tryPurge(api, target, mode, cache, signal);
    },
    staleTime: 0,
    gcTime: 0,
  });
  if (target === null) return { kind: 'unasked' };
  if (error !== null) return { kind: 'untold', why: whyUntold(error) };
  return data === undefined ? { kind: 'asked' } : { kind: 'told', would: data };
}

/** Under which name with a port keys are stored, where there are none without. */
function useHostWithPort(host: string | null): string | null {
  const api = useApi();
  const { data } = useQuery({
    queryKey: ['host-with-port', host],
    enabled: host !== null,
    queryFn: ({ signal }) => fetchHostWithPort(api, host ?? '', signal),
    gcTime: 0,
  });
  return host === null ? null : (data ?? null);
}

function whyUntold(error: Error): string {
  if (error instanceof AskFailed && error.trouble.kind === 'refused') {
    const { status, said } = error.trouble;
    // An older server takes it for a word that it does not know.
    if (said.includes('dry_run')) return 'This server does not say beforehand what a purge will touch.';
    if (status === 401) return 'What it will touch is told to those who may purge.';
    return said === '' ? `The server answered ${status}.` : `The server says: ${said}`;
  }
  return `What it will touch is not known: ${problemOf(error, 'that').title.toLowerCase()}.`;
}

function wouldWords(target: Target | null, view: WouldView): string {
  switch (view.kind) {
    case 'unasked':
      return '';
    case 'asked':
      return 'Counting…';
    case 'untold':
      return view.why;
    case 'told': {
      const { entries, bytes: held } = view.would;
      if (entries === 0) return `It touches nothing that is in memory here.${isPathAlone(target) ? ' That is a path alone: a URL has its host before it (shop.example/posts/1).' : ''} Other tiers, if there are any, are told all the same.`;
      const all = target !== null && 'all' in target ? 'All of it: ' : 'It touches ';
      return `${all}${plural(entries, 'entry', 'entries')}, ${bytes(held)}.`;
    }
  }
}

function labelOf(view: WouldView): string {
  return view.kind === 'told' && view.would.entries > 0
    ? `Purge ${plural(view.would.entries, 'entry', 'entries')}`
    : 'Purge';
}
