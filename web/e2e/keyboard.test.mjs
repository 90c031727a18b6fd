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
  await tabTo('Cache');
  await keyboard.press('Space');
  await reader.rules.getByText(/before picture/).waitFor();
  await keyboard.press('Enter');
  await reader.rules.getByText(/Fresh for/).waitFor();
  await tabTo('Stale while revalidate');
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
  await reader.crowd.getByText('1 fetch for 100 users of post 1').waitFor();

  await tabTo('Clear the cache');
  await keyboard.press('Enter');
  await reader.larder.getByText(/^Cleared/).waitFor();
  await reader.page
    .getByRole('status')
    .getByText(/^Cleared/)
    .waitFor({ state: 'attached' });
  await reader.leave();
});

test('the post that is chosen is chosen again, and loads again', async () => {
  const reader = await Reader.arrive(browser);
  const { keyboard } = reader.page;
  await reader.open(`${blog.urls.open}/?post=6`);
  await reader.gauge.getByText('load 1', { exact: true }).waitFor();
  await reader.waitForList();
  await reader.picker.focus();
  for (const load of [2, 3]) {
    // The list opens at what is chosen.
    await keyboard.press('Space');
    await keyboard.press('Enter');
    await reader.gauge.getByText(`load ${load}`, { exact: true }).waitFor();
    assert.equal((await reader.reading()).badge, 'HIT');
  }
  // A list that is left as it was chooses nothing.
  await keyboard.press('Space');
  await keyboard.press('Escape');
  await keyboard.press('Space');
  await keyboard.press('ArrowDown');
  await keyboard.press('Enter');
  await reader.gauge.getByText('load 4', { exact: true }).waitFor();
  assert.match(reader.page.url(), /\?post=7$/);
  await reader.leave();
});

for (const width of [360, 768, 1440]) {
  test(`at ${width} pixels one walks in the order one sees: down one column, then down the next`, async () => {
    const reader = await Reader.arrive(browser, { viewport: { width, height: 900 } });
    await reader.open(blog.urls.open);
    await reader.waitForList();
    await reader.larder.getByText('live', { exact: true }).waitFor();
    /** @type {{ x: number, y: number, name: string }[]} */
    const places = [];
    for (;;) {
      await reader.page.keyboard.press('Tab');
      const place = await placeOfFocus(reader.page);
      if (place === null) break;
      if (place.name !== 'Skip to the post') places.push(place);
    }
    assert.ok(places.length > 15, `${places.length} places to stop at`);
    const left = places[0]?.x ?? 0;
    // Wide, the right column begins where its first place stands; else a row may hold two instruments.
    const columns = width === 1440 ? [places.filter(({ x }) => x < left + 500), places.filter(({ x }) => x >= left + 500)] : [places];
    assert.deepEqual(columns.flat(), places, 'back to a column that was left');
    for (const column of columns) {
      const rows = width === 768 ? column.filter(({ x }) => x < left + 300) : column;
      const steps = rows.slice(1).map(({ y, name }, at) => ({ name, down: y - (rows[at]?.y ?? 0) }));
      assert.deepEqual(
        steps.filter(({ down }) => down < -12),
        [],
        'upwards',
      );
    }
    await reader.leave();
  });
}

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
    const silent = focused.querySelectorAll('[aria-hidden="true"]');
    const text = [...silent].reduce((all, { textContent }) => all.replace(textContent, ''), focused.textContent);
    const label = focused instanceof HTMLSelectElement ? focused.labels[0]?.textContent : text;
    const { outlineStyle, outlineWidth } = getComputedStyle(focused);
    return { name: label?.trim() ?? '', isSeen: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 };
  });
}

/**
 * Where on the whole page the focus is; none at its end.
 * @param {import('playwright-core').Page} page
 */
function placeOfFocus(page) {
  return page.evaluate(() => {
    const focused = document.activeElement;
    if (focused === null || focused === document.body) return null;
    const { left, top } = focused.getBoundingClientRect();
    return { x: Math.round(left), y: Math.round(top + window.scrollY), name: focused.textContent.trim() };
  });
}
