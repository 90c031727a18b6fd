// Every state in both themes and at both ends of the widths: nothing for axe to object to, nothing to scroll
// sideways, and a picture of each for whoever wants to look.
import { AxeBuilder } from '@axe-core/playwright';
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startBlog } from './blogProcess.mjs';
import { launchBrowser, Reader } from './reader.mjs';

const PICTURES = process.env.SCREENSHOTS ?? join(import.meta.dirname, 'screenshots');

const THEMES = /** @type {const} */ (['light', 'dark']);
const SIZES = [
  { name: '360', viewport: { width: 360, height: 740 } },
  { name: '1440', viewport: { width: 1440, height: 900 } },
];

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
    await reader.crowd.getByText(/origin calls? for 100 users/).waitFor();
    await reader.button('Clear the cache').click();
    await reader.larder.getByText(/^Cleared/).waitFor();
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

for (const colorScheme of THEMES) {
  for (const { name: size, viewport } of SIZES) {
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
}

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
