// Theatre: the requests of each second as travellers between reader, memory, shared tier and origin, slowed down.
import { useCallback, useEffect, useRef, useState } from 'react';
import { MarkSign } from '../../../ui/MarkSign';
import { percent, perSecond, plural } from '../../../ui/format';
import { Segments } from '../../../ui/Segments';
import { useMedia } from '../../../ui/useMedia';
import { hasShared } from '../api/stats';
import { hitRatioOf, requestsOf, VERDICTS } from '../api/samples';
import type { Sample } from '../api/samples';
import { useLive } from '../live/useLive';
import { VERDICT_WORDS } from '../words/verdicts';
import { Acts } from './Acts';
import { Stage } from './Stage';
import { busierOf, travellersOf, worthOf } from './troupe';
import type { Traveller } from './troupe';
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

export function TheatreView() {
  const { samples, stats, link, past } = useLive();
  const wantsCalm = useMedia('(prefers-reduced-motion: reduce)');
  const [speed, setSpeed] = useState<Speed>(wantsCalm ? '0' : '3');
  const troupe = useRef<readonly Traveller[]>([]);
  const drawn = useRef(0);
  const missed = useRef<Sample | null>(null);
  const time = useRef({ stage: 0, real: 0 });
  const last = samples.at(-1);
  const shared = stats !== null && hasShared(stats);

  /** The stage's time goes on by what has passed, more slowly. */
  const clock = useCallback(() => {
    const real = performance.now();
    const passed = time.current.real === 0 ? 0 : Math.min(100, real - time.current.real);
    time.current = { stage: time.current.stage + (speed === '0' ? 0 : passed / Number(speed)), real };
    return time.current.stage;
  }, [speed]);

  useEffect(() => {
    if (last === undefined || last.second === drawn.current) return;
    drawn.current = last.second;
    // While it is stopped nobody new comes on; slowed down, not every second is shown. A crowd's is: it is the busiest.
    const isBusy = (troupe.current.at(-1)?.leaves ?? 0) > time.current.stage + 200;
    const shown = busierOf(missed.current, last);
    missed.current = isBusy && speed !== '0' ? shown : null;
    // Whoever finds it stopped sees a second of it on its way all the same.
    if (speed === '0' && troupe.current.length === 0) troupe.current = travellersOf(last, time.current.stage - STILL_MS);
    if (speed === '0' || isBusy) return;
    troupe.current = [...troupe.current, ...travellersOf(shown, time.current.stage)].slice(-MOST_TRAVELLERS);
  }, [last, speed]);

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
  return (
    <>
      <div className="theatre-head">
        <Segments label="Pace" labelHidden options={SPEEDS} value={speed} onChoose={setSpeed} />
        <p className="soft figures">
          {requests === 0
            ? 'Nobody asks.'
            : `${perSecond(requests)} requests in the last second${ratio === null ? '' : `, hit ratio ${percent(ratio)}`}. ${worth === 1 ? 'Each sign is one of them.' : `Each sign stands for ${worth}.`}`}
        </p>
      </div>
      <Stage
        troupe={troupe}
        clock={clock}
        hasShared={shared}
        label="Requests on their way between reader, memory and origin. The list below says how many."
      />
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
        {plural(last.origin_calls, 'call', 'calls')} of the origin in that second
        {last.refreshes === 0 ? '' : `, ${last.refreshes} of them behind readers’ backs: triangles, which begin in memory`}.
        {last.shared_hits === 0 ? '' : ` ${plural(last.shared_hits, 'hit was', 'hits were')} answered by the shared tier.`}
        {last.purges === 0 ? '' : ` ${plural(last.purges, 'purge', 'purges')}: a line that goes outwards.`} What is drawn is each
        second’s requests by what became of them; when in that second each came, and how fast it went, is not.
      </p>
    </>
  );
}
