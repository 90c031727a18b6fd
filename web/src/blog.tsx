// Entry of the blog page: mounts it, with a query cache that does nothing unasked.
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Blog } from './features/blog/Blog';
import { DELIBERATE } from './wire/deliberate';
import './ui/tokens.css';
import './ui/base.css';

const place = document.getElementById('page');
if (place === null) throw new Error('index.html has no element #page');

createRoot(place).render(
  <StrictMode>
    <QueryClientProvider client={new QueryClient(DELIBERATE)}>
      <Blog />
    </QueryClientProvider>
  </StrictMode>,
);
