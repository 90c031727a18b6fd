// Now: is all well, what is asked, what it costs, what was purged, what failed; and the hour before.
import { useState } from 'react';
import { bytes, clockTime, percent, perSecond, plural, span } from '../../../ui/format';
import { MarkSign } from '../../../ui/MarkSign';
import { Segments } from '../../../ui/Segments';
import { hitRatioOf, requestsOf, VERDICTS } from '../api/samples';
import { Instances } from '../frame/Instances';
import { StoryRow } from '../frame/StoryRow';
import type { Link, Live } from '../live/live';
import { useLive } from '../live/useLive';
import { hrefOf } from '../place';
import { VERDICT_WORDS } from '../words/verdicts';
import { Failures } from './Failures';
import { Health } from './Health';
import { findings } from './health';
import { Readings } from './Readings';
import { StackChart } from './StackChart';
import type { Layer } from './StackChart';
import { columnsOf, STRETCHES, sumOf, within } from './window';
import type { Stretch, Sum } from './window';
import './NowView.css';

const REQUEST_LAYERS: readonly Layer[] = VERDICTS.map((verdict) => ({
  name: VERDICT_WORDS[verdict].name,
  tone: verdict,
  sign: <MarkSign mark={VERDICT_WORDS[verdict].mark} />,
  of: (sum: Sum) => sum[verdict],
}));

const ORIGIN_LAYERS: readonly Layer[] = [
  { name: 'Answered', tone: 'miss', of: (sum) => Math.max(0, sum.origin_calls - sum.origin_failures) },
  { name: 'Failed', tone: 'failed', of: (sum) => sum.origin_failures },
];

/** So many purges are told here; Purge has all. */
const MOST_PURGES = 4;
const HOUR = 3600;

/** What was chosen last, for whoever comes back to the view. */
let chosenStretch: Stretch = '120';

export function NowView() {
  const live = useLive();
  const [stretch, setStretch] = useState<Stretch>(chosenStretch);
  /** The last second that is shown; none: the present, as it goes on. */
  const [held, setHeld] = useState<number | null>(null);
  const { samples } = live;
  const seconds = Number(stretch);
  const last = samples.at(-1)?.second ?? 0;
  const first = samples[0]?.second ?? last;
  const farthest = Math.max(0, Math.min(HOUR, last - first) - seconds);
  const back = held === null ? 0 : Math.min(Math.max(0, last - held), farthest);
  const end = last - back;
  const shown = within(samples, end, seconds);
  const sum = sumOf(shown);
  const isOld = live.link.kind !== 'live';

  if (samples.length === 0) return <Unheard live={live} />;
  return (
    <>
      <Health
        findings={findings({ samples, stats: live.stats, purges: live.purges, now: last })}
        summary={summaryOf(sumOf(within(samples, last, 60)))}
        unknown={whyUnknown(live.link, new Date(last * 1000))}
      />
      <div className="now-time">
        <Segments
          label="How much"
          labelHidden
          options={STRETCHES}
          value={stretch}
          onChoose={(value) => {
            chosenStretch = value;
            setStretch(value);
          }}
        />
        <label className="now-back">
          <span>Up to</span>
          <input
            type="range"
            // Where there is nowhere to go back to, it stands at its end all the same.
            min={-Math.max(1, farthest)}
            max={0}
            step={1}
            value={-back}
            disabled={farthest === 0}
            aria-valuetext={endWords(back, end)}
            onChange={(event) => {
              const chosen = Number(event.target.value);
              setHeld(chosen === 0 ? null : last + chosen);
            }}
          />
          <output className="figures">
            {endWords(back, end)}
            {sum.seconds < seconds ? `; known since ${clockTime(new Date(first * 1000))}` : ''}
          </output>
        </label>
      </div>
      <Readings sum={sum} last={shown.at(-1) ?? null} isOld={isOld} />
      <div className="now-grid">
        <section className="part now-wide" aria-labelledby="traffic-title">
          <header className="part-head">
            <h2 id="traffic-title">Requests</h2>
            <p>{live.past === 'untold' ? 'This server does not tell what was before the page was opened.' : ''}</p>
          </header>
          <StackChart
            label="Requests a second by what became of them"
            columns={columnsOf(samples, end, seconds)}
            layers={REQUEST_LAYERS}
            format={perSecond}
            unit="a second"
          />
        </section>
        <section className="part stack-small" aria-labelledby="origin-title">
          <header className="part-head">
            <h2 id="origin-title">Calls of the origin</h2>
          </header>
          <StackChart
            label="Calls of the origin a second"
            columns={columnsOf(samples, end, seconds)}
            layers={ORIGIN_LAYERS}
            format={perSecond}
            unit="a second"
          />
        </section>
        <Failures samples={shown} />
        <section className="part" aria-labelledby="purged-title">
          <header className="part-head">
            <h2 id="purged-title">What was purged</h2>
            <p>
              <a href={hrefOf('purge')}>{live.purges.length > MOST_PURGES ? 'All of it' : 'Purge something'}</a>
            </p>
          </header>
          {live.purges.length === 0 ? (
            <p className="soft">{sum.purges === 0 ? 'Nothing.' : `${plural(sum.purges, 'purge', 'purges')}.`}</p>
          ) : (
            <ul className="plain-list rows">
              {live.purges.slice(0, MOST_PURGES).map((story) => (
                <li key={story.id}>
                  <StoryRow story={story} now={last * 1000} />
                </li>
              ))}
            </ul>
          )}
        </section>
        <Instances />
      </div>
    </>
  );
}

interface UnheardProps {
  readonly live: Live;
}

/** Before the first second was told, and where none ever is. */
function Unheard({ live }: UnheardProps) {
  const { link, past, stats } = live;
  if (link.kind === 'lost') {
    return (
      <section className="health" aria-label="Health">
        <h2 className="health-title mark-failed">
          <MarkSign mark="failed" /> Nothing is heard of the cache
        </h2>
        <p>{link.why} It is asked again and again.</p>
      </section>
    );
  }
  if (past === 'untold' && stats !== null) {
    return (
      <>
        <p className="soft">
          This server does not tell what happens in each second. Its counters, since it was started:
        </p>
        <ul className="plain-list rows">
          {stats.caches.map(({ name, entries, bytes: held, hit_rate }) => (
            <li key={name}>
              <b>{name}</b>: {plural(entries, 'entry', 'entries')}, {bytes(held)}
              {hit_rate === null ? '' : `, hit rate ${percent(hit_rate)}`}
            </li>
          ))}
        </ul>
      </>
    );
  }
  return <p className="soft">The first second is on its way…</p>;
}

function whyUnknown(link: Link, last: Date): string | null {
  const heard = `below is what was heard up to ${clockTime(last)}.`;
  switch (link.kind) {
    case 'live':
      return null;
    case 'connecting':
      return `The server is asked; ${heard}`;
    case 'hidden':
      return `It is listened to again when the page is shown; ${heard}`;
    case 'lost':
      return `${link.why} It is tried again and again; ${heard}`;
  }
}

function summaryOf(sum: Sum): string {
  const requests = requestsOf(sum);
  const ratio = hitRatioOf(sum);
  if (requests === 0) return 'Nobody asked in the last minute.';
  if (ratio === null) return `${plural(requests, 'request', 'requests')} in the last minute, and none for the cache.`;
  return `Hit ratio of the last minute: ${percent(ratio)}. That saved ${span(sum.saved_seconds)} of the origin’s time.`;
}

function endWords(back: number, end: number): string {
  return back === 0 ? 'now' : clockTime(new Date(end * 1000));
}
