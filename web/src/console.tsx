// Entry of the console: mounts it where the server says that its API is.
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Api } from './features/console/api/api';
import { Session } from './features/console/api/session';
import { Console } from './features/console/frame/Console';
import { DELIBERATE } from './wire/deliberate';
import './ui/tokens.css';
import './ui/base.css';

const place = document.getElementById('page');
if (place === null) throw new Error('console.html has no element #page');
const api = new Api(place.dataset['base'] ?? './', new Session());

createRoot(place).render(
  <StrictMode>
    <QueryClientProvider client={new QueryClient(DELIBERATE)}>
      <Console api={api} />
    </QueryClientProvider>
  </StrictMode>,
);
