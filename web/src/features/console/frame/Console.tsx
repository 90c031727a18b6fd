// The console: one stream of events for all views, the token where one is asked for, and the view that the address names.
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import type { ReactNode } from 'react';
import type { Api } from '../api/api';
import { ApiContext, useApi, useEntry } from '../api/ApiContext';
import { EntriesView } from '../entries/EntriesView';
import { ExplainView } from '../explain/ExplainView';
import { LiveContext, useLiveFeed } from '../live/useLive';
import { useReturns } from '../live/useReturns';
import { NowView } from '../now/NowView';
import { usePlace, VIEW_NAMES } from '../place';
import type { Place } from '../place';
import { PurgeView } from '../purge/PurgeView';
import { RoutesView } from '../routes/RoutesView';
import { TheatreView } from '../theatre/TheatreView';
import { Kept, KeptContext } from './kept';
import { Masthead } from './Masthead';
import { TokenForm } from './TokenForm';
import './Console.css';

interface Props {
  readonly api: Api;
}

export function Console({ api }: Props) {
  return (
    <ApiContext value={api}>
      <Frame />
    </ApiContext>
  );
}

function Frame() {
  const feed = useLiveFeed();
  useReturns(feed);
  const api = useApi();
  const { session } = api;
  const entry = useEntry();
  const place = usePlace();
  const client = useQueryClient();
  const mainRef = useRef<HTMLElement>(null);
  const [kept] = useState(() => new Kept());
  const isAsked = entry.kind === 'asked';

  useEffect(() => {
    document.title = `${VIEW_NAMES[place.view]} · Larder console`;
  }, [place.view]);

  const show = async (token: string) => {
    if (!(await api.tryToken(token))) return;
    // What was refused is asked again, and what somebody else may not see is forgotten.
    void client.resetQueries();
    mainRef.current?.focus({ preventScroll: true });
  };

  return (
    <LiveContext value={feed}>
      <div className="console">
        <a
          className="skip-link"
          href="#view"
          onClick={(event) => {
            // The address after `#` is where one is: it must not become that of an element.
            event.preventDefault();
            mainRef.current?.focus();
          }}
        >
          Skip to the view
        </a>
        <Masthead view={place.view} />
        <main id="view" className="console-view" tabIndex={-1} ref={mainRef} aria-label={VIEW_NAMES[place.view]}>
          {isAsked ? <TokenForm entry={entry} onShow={(token) => void show(token)} onDismiss={() => session.dismiss()} /> : null}
          <KeptContext value={kept}>{isAsked && entry.wish === 'reading' ? null : viewOf(place)}</KeptContext>
        </main>
      </div>
    </LiveContext>
  );
}

function viewOf({ view, query }: Place): ReactNode {
  switch (view) {
    case 'now':
      return <NowView />;
    case 'routes':
      return <RoutesView query={query} />;
    case 'explain':
      return <ExplainView query={query} />;
    case 'entries':
      return <EntriesView query={query} />;
    case 'purge':
      return <PurgeView query={query} />;
    case 'theatre':
      return <TheatreView />;
  }
}
