// Every state in both themes and at three widths: nothing for axe to object to, nothing to scroll
// sideways, and a picture of each for whoever wants to look.
import { AxeBuilder } from '@axe-core/playwright';
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { appearances } from './appearances.mjs';
import { startBlog } from './blogProcess.mjs';
import { launchBrowser, Reader } from './reader.mjs';

const PICTURES = process.env.SCREENSHOTS ?? join(import.meta.dirname, 'screenshots');

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./blogProcess.mjs').Blog} */
let blog;
/** Its posts service is not there. @type {import('./blogProcess.mjs').Blog} */
let broken;

before(async () => {
  await mkdir(PICTURES, { recursive: true });
  browser = await launchBrowser();
  blog = await startBlog('run', { POSTS_DELAY_MS: '300' });
  broken = await startBlog('run', { POSTS_SERVICE_URL: 'http://127.0.0.1:9' });
});
after(async () => {
  await browser.close();
  await blog.stop();
  await broken.stop();
});

/** @type {Record<string, (reader: Reader) => Promise<unknown>>} */
const STATES = {
  cold: async (reader) => {
    await reader.page.route('**/api/posts', () => undefined);
    await reader.open(blog.urls.open);
    await reader.page.getByText('The list is on its way.').waitFor();
  },
  idle: async (reader) => {
    await reader.open(blog.urls.open);
    await reader.waitForList();
  },
  loading: async (reader) => {
    // Held for as long as it takes to look at it: the real wait is shorter than a look at a busy machine.
    await reader.page.route('**/api/posts/5', () => undefined);
    await reader.open(`${blog.urls.open}/?post=5`);
    await reader.waitForList();
    await reader.gauge.getByRole('timer').waitFor();
  },
  loaded: async (reader) => {
    await reader.open(`${blog.urls.open}/?post=1`);
    await reader.gauge.getByText('load 1', { exact: true }).waitFor();
    await reader.again();
    await reader.choose(2);
    await reader.page.getByText('The same as a table').click();
    await reader.larder.getByText('live', { exact: true }).waitFor();
  },
  crowd: async (reader) => {
    await reader.open(`${blog.urls.open}/?post=3`);
    await reader.gauge.getByText('load 1', { exact: true }).waitFor();
    await reader.button('Let 100 users ask at once').click();
    await reader.crowd.getByText(/fetch(es)? for 100 users/).waitFor();
    await reader.button('Clear the cache').click();
    await reader.larder.getByText(/^Cleared/).waitFor();
  },
  stale: async (reader) => {
    await reader.open(`${blog.urls.open}/?post=4`);
    await reader.gauge.getByText('load 1', { exact: true }).waitFor();
    await reader.switch('Stale while revalidate', true);
    await reader.button('Let all expire').click();
    await reader.larder.getByText(/counts as expired/).waitFor();
    await reader.again();
    await reader.gauge.getByText('STALE', { exact: true }).waitFor();
    await reader.switch('Stale while revalidate', false);
  },
  off: async (reader) => {
    await reader.open(`${blog.urls.open}/?post=1`);
    await reader.gauge.getByText('load 1', { exact: true }).waitFor();
    await reader.switch('Cache', false);
    await reader.again();
    await reader.button('Let 100 users ask at once').click();
    await reader.crowd.getByText('100 fetches for 100 users').waitFor();
    await reader.switch('Cache', true);
  },
  forty: async (reader) => {
    await reader.open(`${blog.urls.open}/?post=7`);
    await reader.gauge.getByText('load 1', { exact: true }).waitFor();
    for (let load = 2; load <= 40; load += 1) await reader.again();
  },
  // Every word one word, far longer than any line.
  long: async (reader) => {
    await reader.page.route('**/api/posts{,/*}', async (route) => {
      const response = await route.fetch();
      const body = (await response.text()).replace(/"(title|author|department)":"[^"]*"/g, `"$1":"${'Loremipsum'.repeat(14)}"`);
      await route.fulfill({ response, body });
    });
    await reader.open(blog.urls.open);
    await reader.waitForList();
    await assertFits(reader.page);
    await reader.choose(1);
  },
  unknown: async (reader) => {
    await reader.open(`${blog.urls.open}/?post=99`);
    await reader.seesProblem('There is no post 99');
    await reader.waitForList();
  },
  failed: async (reader) => {
    await reader.open(`${broken.urls.open}/?post=1`);
    await reader.seesProblem('The posts service is down');
    await reader.page.getByText('No list of posts: the posts service is down').waitFor();
  },
};

for (const { colorScheme, size, viewport } of appearances('light')) {
  describe(`${colorScheme}, ${size} pixels wide`, () => {
    for (const [state, walkTo] of Object.entries(STATES)) {
      test(state, async () => {
        const reader = await Reader.arrive(browser, { colorScheme, viewport, reducedMotion: 'reduce' });
        await walkTo(reader);
        const path = join(PICTURES, `${state}-${size}-${colorScheme}.png`);
        await reader.page.screenshot({ path, fullPage: true });
        await assertFits(reader.page);
        await assertAccessible(reader.page);
        await reader.leave();
      });
    }
  });
}

test('on a phone nothing moves unasked: neither when the list comes, nor the first loads and their marks', async () => {
  const reader = await Reader.arrive(browser, { viewport: { width: 360, height: 740 } });
  await reader.page.addInitScript(() => {
    new PerformanceObserver((list) => {
      const { dataset } = document.documentElement;
      for (const entry of list.getEntries()) {
        if ('value' in entry) dataset.shifted = String(Number(dataset.shifted ?? 0) + Number(entry.value));
      }
    }).observe({ type: 'layout-shift', buffered: true });
  });
  await reader.open(`${blog.urls.open}/?post=8`);
  await reader.gauge.getByText('load 1', { exact: true }).waitFor();
  const top = () => reader.page.evaluate(() => document.getElementById('post')?.getBoundingClientRect().top);
  const before = await top();
  await reader.again();
  await reader.button('Let all expire').click();
  await reader.larder.getByText(/counts as expired/).waitFor();
  await reader.page.evaluate(() => window.scrollTo(0, 0));
  await reader.again();
  assert.equal(await top(), before);
  const shifted = Number(await reader.page.locator('html').getAttribute('data-shifted'));
  assert.ok(shifted < 0.05, `${shifted} of layout shift`);
  await reader.leave();
});

test('on a phone the crowd and the counters are one press away', async () => {
  const reader = await Reader.arrive(browser, { viewport: { width: 360, height: 740 } });
  await reader.open(`${blog.urls.open}/?post=1`);
  await reader.gauge.getByText(/^load \d+$/).waitFor();
  const links = reader.page.getByRole('navigation', { name: 'On this page' });
  for (const [link, region] of /** @type {const} */ ([
    ['Crowd', reader.crowd],
    ['Larder', reader.larder],
    ['Cache', reader.rules],
  ])) {
    await links.getByRole('link', { name: link }).click();
    await region.evaluate((element) => new Promise((resolve) => requestAnimationFrame(() => resolve(element))));
    assert.ok(await region.evaluate((element) => element.getBoundingClientRect().top < 700), `${link} is in sight`);
    await reader.page.evaluate(() => window.scrollTo(0, 0));
  }
  await reader.leave();
});

/** @param {import('playwright-core').Page} page */
async function assertFits(page) {
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(excess, 0, `${excess} pixels stick out`);
}

/** @param {import('playwright-core').Page} page */
async function assertAccessible(page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const objections = violations.map(
    ({ id, impact, nodes }) => `${impact}: ${id} at ${nodes.map(({ target }) => target.join(' ')).join(', ')}`,
  );
  assert.deepEqual(objections, []);
}
