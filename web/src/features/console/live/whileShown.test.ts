// A connection is held while the page is shown, and by no page that nobody sees.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { HIDDEN_MS, whileShown } from './whileShown';

let signals: AbortSignal[] = [];
let stop: () => void = () => undefined;
const onHidden = vi.fn();
const running = () => signals.filter(({ aborted }) => !aborted).length;
const start = () => {
  stop = whileShown((signal) => signals.push(signal), onHidden);
};
const become = (isHidden: boolean) => {
  vi.spyOn(document, 'hidden', 'get').mockReturnValue(isHidden);
  document.dispatchEvent(new Event('visibilitychange'));
};

beforeEach(() => {
  vi.useFakeTimers();
  signals = [];
  onHidden.mockClear();
});

afterEach(() => {
  stop();
  vi.useRealTimers();
});

test('it goes on where one only looks into another tab', () => {
  start();
  become(true);
  vi.advanceTimersByTime(HIDDEN_MS - 1);
  become(false);
  vi.advanceTimersByTime(HIDDEN_MS);
  expect([signals.length, running()]).toEqual([1, 1]);
  expect(onHidden).not.toHaveBeenCalled();
});

test('it ends once the page was hidden for long, and begins anew when it is shown', () => {
  start();
  become(true);
  vi.advanceTimersByTime(HIDDEN_MS);
  expect(running()).toBe(0);
  expect(onHidden).toHaveBeenCalledOnce();
  become(false);
  expect([signals.length, running()]).toEqual([2, 1]);
});

test('it ends at once where the page is left, and begins anew where one comes back to it', () => {
  start();
  window.dispatchEvent(new Event('pagehide'));
  expect(running()).toBe(0);
  window.dispatchEvent(new Event('pageshow'));
  expect(running()).toBe(1);
});

test('it does not begin in a tab that was opened behind another', () => {
  vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
  start();
  vi.advanceTimersByTime(HIDDEN_MS);
  expect(signals).toEqual([]);
  expect(onHidden).toHaveBeenCalledOnce();
  become(false);
  expect(running()).toBe(1);
});

test('stopped, it does not begin again', () => {
  start();
  stop();
  become(false);
  window.dispatchEvent(new Event('pageshow'));
  expect([signals.length, running()]).toEqual([1, 0]);
});
