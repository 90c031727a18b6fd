// Before and after every test: no page and no stand-in of one test is left for the next.
import { cleanup, configure } from '@testing-library/react';
import { afterEach, vi } from 'vitest';

// What is waited for comes; on a busy machine it takes its time.
configure({ asyncUtilTimeout: 8000 });

// There is no screen, so nothing scrolls.
Element.prototype.scrollIntoView = () => undefined;

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});
