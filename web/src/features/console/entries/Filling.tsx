// What fills the memory: how much of it, by route, and by tag.
import { useQuery } from '@tanstack/react-query';
import { bytes, percent, plural } from '../../../ui/format';
import { useApi } from '../api/ApiContext';
import { fetchTags } from '../api/entries';
import { fetchRoutes } from '../api/routes';
import { Loaded } from '../frame/Loaded';
import { Memory } from './Memory';
import './Filling.css';

interface Props {
  readonly hrefTo: (changes: Readonly<Record<string, string>>) => string;
}

const MOST = 5;

export function Filling({ hrefTo }: Props) {
  const api = useApi();
  const routes = useQuery({ queryKey: ['routes'], queryFn: ({ signal }) => fetchRoutes(api, signal) });
  const tags = useQuery({ queryKey: ['tags'], queryFn: ({ signal }) => fetchTags(api, MOST, signal) });
  return (
    <section className="filling" aria-label="What fills the memory">
      <Memory />
      <div className="part">
        <header className="part-head">
          <h2>What fills it, by route</h2>
        </header>
        <Loaded query={routes} what="its routes">
          {(told) => {
            const all = told.routes.reduce((sum, route) => sum + route.bytes, 0);
            const largest = told.routes.filter((route) => route.bytes > 0).toSorted((a, b) => b.bytes - a.bytes);
            return (
              <Bars
                all={all}
                none="No route holds anything."
                bars={largest.slice(0, MOST).map((route) => ({
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
          {(told) => (
            <Bars
              all={Math.max(0, ...told.tags.map((tag) => tag.bytes))}
              isOfLargest
              none="Nothing stored has a tag."
              bars={told.tags.map(({ tag, bytes: held, entries }) => ({
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
