// Parts that die while the page is open, and come back: nobody has to load the page again.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { freePort, startBlog } from './blogProcess.mjs';
import { launchBrowser, Reader } from './reader.mjs';

/** @typedef {import('./blogProcess.mjs').Blog} Blog */

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {Reader} */
let reader;
/** @type {Blog} */
let posts;
/** @type {Blog} */
let backend;
/** @type {Blog} */
let page;
/** @type {Record<string, string>} */
let settings;

before(async () => {
  browser = await launchBrowser();
});
after(() => browser.close());

beforeEach(async () => {
  // Each part is a process of its own and comes back to its own port.
  const port = await freePort();
  settings = {
    POSTS_SERVICE_PORT: port,
    POSTS_SERVICE_URL: `http://127.0.0.1:${port}`,
    BACKEND_PORT: await freePort(),
    CONSOLE_PORT: await freePort(),
    FRONTEND_PORT: await freePort(),
    POSTS_DELAY_MS: '300',
  };
  posts = await startBlog('posts', settings);
  backend = await startBlog('backend', settings);
  page = await startBlog('page', settings);
  reader = await Reader.arrive(browser);
  await reader.open(page.urls.open);
});
afterEach(async () => {
  await reader.leave();
  await Promise.all([posts.stop(), backend.stop(), page.stop()]);
});

test('without the posts service, what is kept still loads, the rest says why, and a retry recovers', async () => {
  await reader.choose(1);
  await posts.kill();

  await reader.again();
  assert.equal((await reader.reading()).badge, 'HIT');

  await reader.choose(2);
  await reader.seesProblem('The posts service is down');
  await reader.page.getByText('Posts service unavailable (connection error)').waitFor();

  await reader.choose(1);
  assert.equal((await reader.reading()).badge, 'HIT');
  await reader.choose(2);
  await reader.seesProblem('The posts service is down');

  posts = await startBlog('posts', settings);
  await reader.press('Try again');
  assert.equal((await reader.reading()).badge, 'MISS');
  assert.equal(await reader.page.getByRole('alert').count(), 0);
});

test('without the posts service, a post beyond its lifetime is shown all the same, with its age', async () => {
  await backend.stop();
  const stale = { CACHE_TTL_SECONDS: '1', CACHE_STALE_WHILE_REVALIDATE_SECONDS: '60' };
  backend = await startBlog('backend', { ...settings, ...stale });
  await reader.open(page.urls.open);
  await reader.choose(1);
  await reader.againUntil('STALE');
  await posts.kill();

  // The refresh that was under way may just have ended: then its post has a second to live.
  await reader.againUntil('STALE');
  await reader.gauge.locator('.badge-note').getByText(/^\d+\ss old$/).waitFor();
  await reader.gauge.getByText(/The posts service fails, so there is no newer one\.$/).waitFor();
  await reader.page.getByRole('article').getByRole('heading', { name: 'The Dialectics of Nature' }).waitFor();
  assert.equal(await reader.page.getByRole('alert').count(), 0);
});

test('without the posts service from the start there is no list, until it is fetched again', async () => {
  await reader.waitForList();
  await reader.button('Clear the cache').click();
  await reader.larder.getByText(/^Cleared/).waitFor();
  await posts.kill();

  await reader.page.reload();
  await reader.seesProblem('No list of posts: the posts service is down');
  posts = await startBlog('posts', settings);
  await reader.button('Fetch the list again').click();
  await reader.choose(1);
});

test('without the backend the post stays readable and the counters stand still, and both come back', async () => {
  await reader.choose(1);
  await reader.larder.getByText('live', { exact: true }).waitFor();
  await backend.kill();

  await reader.larder.getByText('connection lost, trying again').waitFor();
  await reader.again();
  await reader.seesProblem('The backend does not answer');
  await reader.page.getByRole('article').getByRole('heading', { name: 'The Dialectics of Nature' }).waitFor();

  backend = await startBlog('backend', settings);
  await reader.press('Try again');
  assert.equal((await reader.reading()).badge, 'MISS');
  await reader.larder.getByText('live', { exact: true }).waitFor();
});

test('a backend that begins anew begins with its own rules, and the page follows', async () => {
  await reader.waitForList();
  await reader.switch('Cache', false);
  await backend.stop();
  await reader.rules.getByText(/nothing can be switched now/).waitFor();
  assert.equal(await reader.toggle('Cache').getAttribute('aria-disabled'), 'true');
  backend = await startBlog('backend', settings);
  await reader.rules.getByText(/Fresh for/).waitFor();
  assert.equal(await reader.toggle('Cache').getAttribute('aria-checked'), 'true');
});

test('without the console one can still read and send a crowd, and sees why clearing rests', async (t) => {
  const blind = await startBlog('page', {
    ...settings,
    FRONTEND_PORT: await freePort(),
    CONSOLE_PORT: await freePort(),
  });
  t.after(() => blind.stop());
  // A backend answers the page it was told of; this other page is one more.
  await backend.stop();
  backend = await startBlog('backend', { ...settings, FRONTEND_ORIGIN: blind.urls.open ?? '' });

  await reader.open(blind.urls.open);
  await reader.larder.getByText('connection lost, trying again').waitFor();
  await reader.larder.getByText(/which cannot be reached from here/).waitFor();
  assert.equal(await reader.button('Clear the cache').getAttribute('aria-disabled'), 'true');
  await reader.choose(1);
  await reader.button('Let 100 users ask at once').click();
  await reader.crowd.getByText('0 fetches for 100 users of post 1').waitFor();
  await reader.crowd.getByText(/could not be cleared first/).waitFor();
});
