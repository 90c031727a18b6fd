// What fills the memory: how much of it, by route, and by tag.
import { useQuery } from '@tanstack/react-query';
import { bytes, percent, plural } from '../../../ui/format';
import { againOnceTold } from '../api/again';
import { useApi } from '../api/ApiContext';
import { fetchTags } from '../api/entries';
import { fetchLargest } from '../api/routes';
import { Loaded } from '../frame/Loaded';
import { useLive } from '../live/useLive';
import { Memory } from './Memory';
import './Filling.css';

interface Props {
  readonly hrefTo: (changes: Readonly<Record<string, string>>) => string;
}

const MOST = 5;
const EVERY_MS = 10_000;

export function Filling({ hrefTo }: Props) {
  const api = useApi();
  const { stats, purges } = useLive();
  /** What was told before a purge is no more. */
  const told = { refetchInterval: againOnceTold(EVERY_MS), gcTime: 0 };
  const lastPurge = purges[0]?.id ?? null;
  const held = stats?.caches.reduce((sum, cache) => sum + cache.bytes, 0) ?? 0;
  const routes = useQuery({ ...told, queryKey: ['routes', 'largest', lastPurge], queryFn: ({ signal }) => fetchLargest(api, MOST, signal) });
  const tags = useQuery({ ...told, queryKey: ['tags', lastPurge], queryFn: ({ signal }) => fetchTags(api, MOST, signal) });
  return (
    <section className="filling" aria-label="What fills the memory">
      <Memory />
      <div className="part">
        <header className="part-head">
          <h2>What fills it, by route</h2>
        </header>
        <Loaded query={routes} what="its routes">
          {(lines) => {
            const largest = lines.filter((route) => route.bytes > 0);
            const ofThese = largest.reduce((sum, route) => sum + route.bytes, 0);
            return (
              <Bars
                // What is held goes on changing while routes are told.
                all={Math.max(held, ofThese)}
                none="No route holds anything."
                bars={largest.map((route) => ({
                  name: route.route,
                  href: hrefTo({ route: route.route }),
                  bytes: route.bytes,
                  entries: route.entries,
                }))}
              />
            );
          }}
        </Loaded>
      </div>
      <div className="part">
        <header className="part-head">
          <h2>By tag</h2>
          <p>an entry counts in each of its tags</p>
        </header>
        <Loaded query={tags} what="its tags">
          {(lines) => (
            <Bars
              all={Math.max(0, ...lines.tags.map((tag) => tag.bytes))}
              isOfLargest
              none="Nothing stored has a tag."
              bars={lines.tags.map(({ tag, bytes: held, entries }) => ({
                name: tag,
                href: hrefTo({ tag }),
                bytes: held,
                entries,
              }))}
            />
          )}
        </Loaded>
      </div>
    </section>
  );
}

interface BarsProps {
  readonly bars: readonly { readonly name: string; readonly href: string; readonly bytes: number; readonly entries: number }[];
  /** What the longest bar could be. */
  readonly all: number;
  /** Shares of the whole would be wrong: they overlap. */
  readonly isOfLargest?: boolean;
  readonly none: string;
}

function Bars({ bars, all, isOfLargest = false, none }: BarsProps) {
  if (bars.length === 0) return <p className="soft">{none}</p>;
  return (
    <ul className="plain-list filling-bars figures">
      {bars.map((bar) => (
        <li key={bar.name}>
          <i aria-hidden="true" style={{ inlineSize: `${(bar.bytes / Math.max(1, all)) * 100}%` }} />
          <a href={bar.href} className="mono">
            {bar.name}
          </a>
          <span>
            {bytes(bar.bytes)}{' '}
            <span className="soft">
              {isOfLargest ? '' : `${percent(bar.bytes / Math.max(1, all))}, `}
              {plural(bar.entries, 'entry', 'entries')}
            </span>
          </span>
        </li>
      ))}
    </ul>
  );
}
