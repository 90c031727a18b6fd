// The story itself, at its real pace: two seconds, then a few milliseconds.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { startBlog } from './blogProcess.mjs';
import { launchBrowser, Reader } from './reader.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./blogProcess.mjs').Blog} */
let blog;
/** @type {Reader} */
let reader;

before(async () => {
  browser = await launchBrowser();
});
after(() => browser.close());
beforeEach(async () => {
  blog = await startBlog('run', { POSTS_DELAY_MS: '2000' });
  reader = await Reader.arrive(browser);
  await reader.open(blog.urls.open);
});
afterEach(async () => {
  await reader.leave();
  await blog.stop();
});

test('a post takes two seconds and is a miss, then milliseconds and is a hit', async () => {
  await reader.waitForList();
  await reader.picker.selectOption('1');
  await reader.gauge.getByRole('timer').waitFor();
  await reader.gauge.getByText('load 1', { exact: true }).waitFor();
  await reader.page.getByRole('heading', { name: 'The Dialectics of Nature' }).waitFor();
  assertSlow(await reader.reading());

  await reader.again();
  assertFast(await reader.reading());
  await reader.page
    .getByRole('status')
    .getByText(/^Post loaded in .*\sms, cache hit/)
    .waitFor();
});

test('each post has a fate of its own', async () => {
  await reader.choose(1);
  await reader.choose(2);
  assertSlow(await reader.reading());
  await reader.choose(1);
  assertFast(await reader.reading());
});

test('a hundred users who ask for one cold post cost one origin call', async () => {
  await reader.choose(3);
  await reader.button('Let 100 users ask at once').click();
  await reader.crowd.getByRole('timer').waitFor();
  await reader.crowd.getByText('1 origin call for 100 users of post 3').waitFor();
  assert.match((await reader.crowd.locator('dl').textContent()) ?? '', /Answered100Failed0Waited along99/);

  // The counters follow by themselves.
  await reader.larder.locator('div', { hasText: 'Collapsed99' }).first().waitFor();
});

test('what was cleared is a miss again', async () => {
  await reader.choose(1);
  await reader.button('Clear the cache').click();
  await reader.larder.getByText('Cleared 2 entries.').waitFor();
  await reader.again();
  assertSlow(await reader.reading());
});

/** @param {{ ms: number, badge: string | null }} reading */
function assertSlow({ ms, badge }) {
  assert.equal(badge, 'MISS');
  assert.ok(ms >= 1990 && ms < 2600, `${ms} ms is not about two seconds`);
}

/** @param {{ ms: number, badge: string | null }} reading */
function assertFast({ ms, badge }) {
  assert.equal(badge, 'HIT');
  assert.ok(ms < 100, `${ms} ms is not fast`);
}
