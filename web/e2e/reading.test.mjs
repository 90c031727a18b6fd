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

test('choosing the post that is chosen already loads it again', async () => {
  await reader.choose(1);
  await reader.choose(1);
  assertFast(await reader.reading());
  await reader.choose(1);
  assert.equal(await reader.loads(), 3);
});

test('both presses of a double click are loads', async () => {
  await reader.choose(1);
  await reader.button('Load this post again').dblclick();
  await reader.gauge.getByText('load 3', { exact: true }).waitFor();
  assertFast(await reader.reading());
});

test('while the clock runs, nobody says that there was no load', async () => {
  await reader.waitForList();
  await reader.picker.selectOption('2');
  await reader.gauge.getByText('under way', { exact: true }).waitFor();
  assert.equal(await reader.gauge.getByText('no load yet').count(), 0);
});

test('each post has a fate of its own', async () => {
  await reader.choose(1);
  await reader.choose(2);
  assertSlow(await reader.reading());
  await reader.choose(1);
  assertFast(await reader.reading());
});

test('a hundred users who ask for one cold post cost one fetch', async () => {
  await reader.choose(3);
  await reader.button('Let 100 users ask at once').click();
  await reader.crowd.getByRole('timer').waitFor();
  await reader.crowd.getByText('1 fetch for 100 users of post 3').waitFor();
  assert.match((await reader.crowd.locator('dl').textContent()) ?? '', /Answered100Failed0Waited along99/);

  // The counters follow by themselves.
  await reader.larder.locator('div', { hasText: 'Collapsed99' }).first().waitFor();
});

test('before and after without a restart, on every page that is open', async () => {
  await reader.choose(1);
  await reader.again();
  // The list was a miss as well.
  await reader.larder.getByText('33\u00a0%').waitFor();
  const other = await Reader.arrive(browser);
  await other.open(blog.urls.open);

  await reader.switch('Cache', false);
  await reader.again();
  assertSlow(await reader.reading(), 'BYPASS');
  await other.rules.getByText('The cache is off: this is the before picture.').waitFor();

  await other.switch('Cache', true);
  await reader.rules.getByText(/Fresh for/).waitFor();
  await reader.again();
  assertFast(await reader.reading());
  await other.leave();
});

test('what was cleared is a miss again', async () => {
  await reader.choose(1);
  await reader.button('Clear the cache').click();
  await reader.larder.getByText('Cleared 2 entries.').waitFor();
  await reader.again();
  assertSlow(await reader.reading());
});

test('what serving stale brings is seen when a post expires: two seconds, or nothing to wait for', async (t) => {
  const brief = await startBlog('run', { POSTS_DELAY_MS: '2000', CACHE_TTL_SECONDS: '3' });
  t.after(() => brief.stop());
  await reader.open(brief.urls.open);
  await reader.rules.getByText(/Fresh for 3\ss\. Then the next load waits/).waitFor();
  await reader.choose(1);
  const expired = () => new Promise((resolve) => setTimeout(resolve, 3500));
  await expired();
  await reader.again();
  assertSlow(await reader.reading());

  await reader.switch('Stale while revalidate', true);
  await reader.rules.getByText(/Fresh for 3\ss\. For 1\smin more, the old copy is given/).waitFor();
  await expired();
  await reader.again();
  assertFast(await reader.reading(), 'STALE');
  await reader.gauge.getByText(/ and sent for a new one\.$/).waitFor();
});

/**
 * @param {{ ms: number, badge: string | null }} reading
 * @param {string} [expected]
 */
function assertSlow({ ms, badge }, expected = 'MISS') {
  assert.equal(badge, expected);
  assert.ok(ms >= 1990 && ms < 2600, `${ms} ms is not about two seconds`);
}

/**
 * @param {{ ms: number, badge: string | null }} reading
 * @param {string} [expected]
 */
function assertFast({ ms, badge }, expected = 'HIT') {
  assert.equal(badge, expected);
  assert.ok(ms < 500, `${ms} ms is not fast`);
}
