// Theatre: real requests as travellers between reader, memory, shared tier and origin, slowed down; where the server tells no
// single ones, those of each second by what became of them.
import { useCallback, useEffect, useRef, useState } from 'react';
import { MarkSign } from '../../../ui/MarkSign';
import { clockTime, percent, perSecond, plural, wholeNumber } from '../../../ui/format';
import { Segments } from '../../../ui/Segments';
import { useMedia } from '../../../ui/useMedia';
import { ActionButton } from '../../../ui/ActionButton';
import type { PastRequest } from '../api/explain';
import type { Passed } from '../api/passed';
import { hasShared } from '../api/stats';
import { hitRatioOf, requestsOf, VERDICTS } from '../api/samples';
import type { Sample } from '../api/samples';
import { useLive } from '../live/useLive';
import { VERDICT_WORDS } from '../words/verdicts';
import { Acts } from './Acts';
import { Soloists, MOST_LISTED } from './Soloists';
import { enter, joinedBy, MOST_ALONE } from './soloists';
import { Stage } from './Stage';
import { busierOf, travellersOf, worthOf } from './troupe';
import type { Traveller } from './troupe';
import { usePassed } from './usePassed';
import './TheatreView.css';

const SPEEDS = [
  { value: '1', name: 'as it is' },
  { value: '3', name: '3 times slower' },
  { value: '0', name: 'stopped' },
] as const;
type Speed = (typeof SPEEDS)[number]['value'];

/** Nobody follows more; the oldest have left the stage by then. */
const MOST_TRAVELLERS = 600;

/** How far a second has come that is seen standing still. */
const STILL_MS = 1300;
/** So long after it came one may still be on its way, slowed down. */
const LINGER_SECONDS = 20;
/** How often it is looked whether a lane is free. */
const LOOK_MS = 200;

export function TheatreView() {
  const { samples, stats, link, past } = useLive();
  const wantsCalm = useMedia('(prefers-reduced-motion: reduce)');
  const [speed, setSpeed] = useState<Speed>(wantsCalm ? '0' : '3');
  const troupe = useRef<readonly Traveller[]>([]);
  const drawn = useRef(0);
  const missed = useRef<Sample | null>(null);
  const time = useRef({ stage: 0, real: 0 });
  const waiting = useRef<readonly PastRequest[]>([]);
  const [listed, setListed] = useState<readonly PastRequest[]>([]);
  const [drawnAlone, setDrawnAlone] = useState(0);
  const [passedBy, setPassedBy] = useState(0);
  const counted = useRef<number | null>(null);
  const onPassed = useCallback(({ requests }: Passed) => {
    waiting.current = joinedBy(waiting.current, requests);
  }, []);
  const told = usePassed(onPassed);
  const last = samples.at(-1);
  const shared = stats !== null && hasShared(stats);

  /** The stage's time goes on by what has passed, more slowly. */
  const clock = useCallback(() => {
    const real = performance.now();
    const passed = time.current.real === 0 ? 0 : Math.min(100, real - time.current.real);
    time.current = { stage: time.current.stage + (speed === '0' ? 0 : passed / Number(speed)), real };
    return time.current.stage;
  }, [speed]);

  /** Those go on who wait, as far as there is room. `from`: when, by the stage's time. */
  const goOn = useCallback(
    (from: number) => {
      const next = enter(troupe.current, waiting.current, from, shared);
      troupe.current = next.troupe;
      waiting.current = next.waiting;
      if (next.entered.length === 0) return;
      setDrawnAlone((before) => before + next.entered.length);
      setListed((before) => [...next.entered.toReversed(), ...before].slice(0, MOST_LISTED));
    },
    [shared],
  );
  /** While it is stopped: others, seen on their way. */
  const showNext = () => {
    troupe.current = [];
    goOn(time.current.stage - STILL_MS);
  };

  useEffect(() => {
    if (told !== 'told') return;
    const timer = setInterval(() => {
      if (speed !== '0') goOn(time.current.stage);
      else if (troupe.current.length === 0) goOn(time.current.stage - STILL_MS);
    }, LOOK_MS);
    return () => clearInterval(timer);
  }, [told, speed, goOn]);

  // What has passed since one came, drawn or not.
  useEffect(() => {
    const since = counted.current;
    if (last === undefined || last.second === since) return;
    counted.current = last.second;
    if (since === null) return;
    const more = samples.filter(({ second }) => second > since).reduce((sum, sample) => sum + requestsOf(sample), 0);
    setPassedBy((before) => before + more);
  }, [last, samples]);

  useEffect(() => {
    if (told === 'asked') return;
    if (last === undefined || last.second === drawn.current) return;
    drawn.current = last.second;
    if (told === 'told') {
      // Each request goes by itself; what is none goes as before.
      const others = travellersOf(last, time.current.stage).filter(({ way }) => way === 'refresh' || way === 'purge');
      if (speed !== '0') troupe.current = [...troupe.current, ...others].slice(-MOST_TRAVELLERS);
      return;
    }
    // While it is stopped nobody new comes on; slowed down, not every second is shown. A crowd's is: it is the busiest.
    const isBusy = (troupe.current.at(-1)?.leaves ?? 0) > time.current.stage + 200;
    const shown = busierOf(missed.current, last);
    missed.current = isBusy && speed !== '0' ? shown : null;
    // Whoever finds it stopped sees a second of it on its way all the same.
    if (speed === '0' && troupe.current.length === 0) troupe.current = travellersOf(last, time.current.stage - STILL_MS);
    if (speed === '0' || isBusy) return;
    troupe.current = [...troupe.current, ...travellersOf(shown, time.current.stage)].slice(-MOST_TRAVELLERS);
  }, [last, speed, told]);

  if (last === undefined) {
    return (
      <p className="soft">
        {past === 'untold' && link.kind === 'live'
          ? 'This server does not tell what happens in each second, so there is nothing to play.'
          : 'The stage is empty until the first second is told…'}
      </p>
    );
  }
  const requests = requestsOf(last);
  const ratio = hitRatioOf(last);
  const worth = worthOf(last);
  const isOnTheWay = samples.slice(-LINGER_SECONDS).some((sample) => requestsOf(sample) > 0);
  return (
    <>
      <div className="theatre-head">
        <Segments label="Pace" labelHidden options={SPEEDS} value={speed} onChoose={setSpeed} />
        <p className="soft figures">
          {link.kind !== 'live'
            ? `Who asks now is not known: the last second that was heard of is that of ${clockTime(new Date(last.second * 1000))}.`
            : requests === 0
              ? `Nobody asked in the last second${isOnTheWay ? '; what is still on its way came before' : ''}.`
              : `${perSecond(requests)} requests in the last second${ratio === null ? '' : `, hit ratio ${percent(ratio)}`}.`}{' '}
          {told === 'told'
            ? aloneWords(drawnAlone, Math.max(passedBy, drawnAlone))
            : requests === 0
              ? ''
              : worth === 1
                ? 'Each sign is one of them.'
                : `Each sign stands for ${worth}.`}
        </p>
        {told === 'told' && speed === '0' ? <ActionButton onPress={showNext}>Show the next ones</ActionButton> : null}
      </div>
      <Stage
        troupe={troupe}
        clock={clock}
        hasShared={shared}
        label="Requests on their way between reader, memory and origin. The list below says how many."
      />
      {told === 'told' ? <Soloists requests={listed} /> : null}
      <Acts />
      <ul className="plain-list theatre-cast figures">
        {VERDICTS.map((verdict) => (
          <li key={verdict}>
            <MarkSign mark={VERDICT_WORDS[verdict].mark} /> <b>{last[verdict]}</b>{' '}
            <span>
              {VERDICT_WORDS[verdict].name.toLowerCase()} <span className="soft">{VERDICT_WORDS[verdict].says}</span>
            </span>
          </li>
        ))}
      </ul>
      <p className="soft figures">
        A sign is pale until it has an answer. {plural(last.origin_calls, 'call', 'calls')} of the origin in {link.kind === 'live' ? 'the last second' : 'that second'}
        {last.refreshes === 0 ? '' : `, ${last.refreshes} of them behind readers’ backs: triangles, which begin in memory`}.
        {last.shared_hits === 0 ? '' : ` ${plural(last.shared_hits, 'hit was', 'hits were')} answered by the shared tier.`}
        {last.purges === 0 ? '' : ` ${plural(last.purges, 'purge', 'purges')}: a line that goes outwards.`}{' '}
        {told === 'told'
          ? `Each sign with a name is one request, as it was: ${MOST_ALONE} at once, for the eye follows no more, and of the plain hits a few in each second. From place to place each takes the same time; how long it waited for the origin or for another’s answer is as it was, up to three seconds, before it is slowed down.`
          : 'What is drawn is each second’s requests by what became of them; when in that second each came, and how fast it went, is not.'}
      </p>
    </>
  );
}

/** How many of all are seen: nobody is to take these for all. */
function aloneWords(drawn: number, passed: number): string {
  return `Since you came ${wholeNumber(drawn)} of ${wholeNumber(passed)} were drawn, one by one.`;
}
