// The chosen post lives in the address, and an address can name what is not there.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startBlog } from './blogProcess.mjs';
import { launchBrowser, Reader } from './reader.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./blogProcess.mjs').Blog} */
let blog;

before(async () => {
  browser = await launchBrowser();
  blog = await startBlog('run', { POSTS_DELAY_MS: '300' });
});
after(async () => {
  await browser.close();
  await blog.stop();
});

test('a link opens its post, and back and forward walk through those that were read', async () => {
  const reader = await Reader.arrive(browser);
  await reader.open(`${blog.urls.open}/?post=2`);
  await reader.page
    .getByRole('article')
    .getByRole('heading', { name: await titleOf(2) })
    .waitFor();
  await reader.choose(4);
  assert.match(reader.page.url(), /\?post=4$/);
  assert.equal(await reader.page.title(), `${await titleOf(4)} · Larder`);

  await reader.page.goBack();
  await reader.page
    .getByRole('article')
    .getByRole('heading', { name: await titleOf(2) })
    .waitFor();
  await reader.page.goForward();
  await reader.page
    .getByRole('article')
    .getByRole('heading', { name: await titleOf(4) })
    .waitFor();
  await reader.gauge.getByText('HIT').waitFor();
  await reader.leave();
});

test('a post that does not exist is said not to, and the contents lead on', async () => {
  const reader = await Reader.arrive(browser);
  await reader.open(`${blog.urls.open}/?post=99`);
  await reader.seesProblem('There is no post 99');
  await reader.page.getByRole('link', { name: await titleOf(1) }).click();
  await reader.page
    .getByRole('article')
    .getByRole('heading', { name: await titleOf(1) })
    .waitFor();
  await reader.leave();
});

test('what is no number is refused', async () => {
  const reader = await Reader.arrive(browser);
  await reader.open(`${blog.urls.open}/?post=one`);
  await reader.seesProblem('“one” is not the number of a post');
  await reader.leave();
});

test('without the cache every load is slow, and the page says why', async (t) => {
  const uncached = await startBlog('run', { POSTS_DELAY_MS: '300', CACHE_ENABLED: 'false' });
  t.after(() => uncached.stop());
  const reader = await Reader.arrive(browser);
  await reader.open(uncached.urls.open);
  await reader.rules.getByText('The cache is off: this is the before picture.').waitFor();
  await reader.choose(1);
  await reader.again();
  const { ms, badge } = await reader.reading();
  assert.equal(badge, 'BYPASS');
  assert.ok(ms >= 295, `${ms} ms is less than the posts service takes`);
  await reader.leave();
});

/** @param {number} id */
async function titleOf(id) {
  const response = await fetch(`${blog.urls.backend}/api/posts/${id}`);
  /** @type {unknown} */
  const post = await response.json();
  assert.ok(typeof post === 'object' && post !== null && 'title' in post && typeof post.title === 'string');
  return post.title;
}
