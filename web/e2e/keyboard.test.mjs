// The whole story without a mouse.
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

test('choosing, loading again, the table, the crowd and clearing all work from the keyboard', async () => {
  const reader = await Reader.arrive(browser);
  const { keyboard } = reader.page;
  /** @param {string} name */
  const tabTo = async (name) => {
    await keyboard.press('Tab');
    const focused = await focusOf(reader.page);
    assert.equal(focused.name, name);
    assert.ok(focused.isSeen, `one sees that “${name}” has the focus`);
  };

  await reader.open(blog.urls.open);
  await reader.waitForList();
  await tabTo('Skip to the post');
  await tabTo('Larder');
  await tabTo('Post');

  await keyboard.press('ArrowDown');
  await reader.gauge.getByText('load 1', { exact: true }).waitFor();
  await tabTo('Load this post again');
  await keyboard.press('Enter');
  await reader.gauge.getByText('load 2', { exact: true }).waitFor();
  assert.equal((await reader.reading()).badge, 'HIT');
  // The button rested while it loaded, and kept the focus.
  assert.equal((await focusOf(reader.page)).name, 'Load this post again');

  await tabTo('The same as a table');
  await keyboard.press('Enter');
  await reader.page.getByRole('table').waitFor();

  await tabTo('Let 100 users ask at once');
  await keyboard.press('Space');
  await reader.crowd.getByText('1 origin call for 100 users of post 1').waitFor();

  await tabTo('Clear the cache');
  await keyboard.press('Enter');
  await reader.larder.getByText(/^Cleared/).waitFor();
  await reader.page
    .getByRole('status')
    .getByText(/^Cleared/)
    .waitFor({ state: 'attached' });
  await reader.leave();
});

test('the skip link leads past the instruments, and a post can be chosen from the contents', async () => {
  const reader = await Reader.arrive(browser);
  const { keyboard } = reader.page;
  await reader.open(blog.urls.open);
  await reader.waitForList();
  await keyboard.press('Tab');
  await keyboard.press('Enter');
  await keyboard.press('Tab');
  assert.equal((await focusOf(reader.page)).name, 'The Dialectics of Nature');

  await keyboard.press('Enter');
  await reader.gauge.getByText('load 1', { exact: true }).waitFor();
  // The link is gone; the reader is where the post is.
  assert.equal(await reader.page.evaluate(() => document.activeElement?.id), 'post');
  await reader.leave();
});

/** @param {import('playwright-core').Page} page */
function focusOf(page) {
  return page.evaluate(() => {
    const focused = document.activeElement;
    if (!(focused instanceof HTMLElement)) return { name: '', isSeen: false };
    const label = focused instanceof HTMLSelectElement ? focused.labels[0]?.textContent : focused.textContent;
    const { outlineStyle, outlineWidth } = getComputedStyle(focused);
    return { name: label?.trim() ?? '', isSeen: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 };
  });
}
