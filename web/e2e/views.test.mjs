// Each view of the console over real servers: of a gateway under load and of the blog, at all widths, in light and dark; with
// tokens; and while the gateway goes away and comes back, or the page is loaded anew.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { diagonal } from './appearances.mjs';
import { freePort, startBlog } from './blogProcess.mjs';
import { startGateway } from './gatewayProcess.mjs';
import { lookAt, PICTURES } from './looks.mjs';
import { launchBrowser } from './reader.mjs';
import { ask, configuration, startSite } from './site.mjs';

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {[hash: string, walk: (page: Page) => Promise<unknown>]} View where it begins, and what is to be seen there */

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./site.mjs').Site} */
let site;
/** @type {import('./gatewayProcess.mjs').Gateway} */
let gateway;
/** @type {import('./blogProcess.mjs').Blog} */
let blog;
/** Ends the load. */
let isOver = false;
/** @type {Promise<unknown>} */
let load;
/** The id of a request to `/me` of each. */
const past = { gateway: '', blog: '' };

before(async () => {
  await mkdir(PICTURES, { recursive: true });
  site = await startSite();
  gateway = await startGateway(configuration(site.url));
  blog = await startBlog('run', { POSTS_DELAY_MS: '50' });
  browser = await launchBrowser();
  // Everything has been asked for before the first look, and goes on being asked for.
  await ask(gateway.url, { requests: 200, readers: 8, pauseMs: 1 });
  past.gateway = await idOf(`${gateway.url}/me`);
  past.blog = await idOf(`${backend()}/api/posts/1`);
  load = keepAsking();
});
after(async () => {
  isOver = true;
  await load;
  await browser.close();
  await Promise.all([gateway.stop(), blog.stop(), site.stop()]);
});

async function keepAsking() {
  while (!isOver) {
    await ask(gateway.url, { requests: 40, readers: 4, pauseMs: 20 });
    for (const post of [1, 2, 3, 1, 1]) await (await fetch(`${backend()}/api/posts/${post}`)).arrayBuffer();
  }
}

function backend() {
  return blog.urls.backend ?? '';
}

/** @param {string} url */
async function idOf(url) {
  const response = await fetch(url);
  await response.arrayBuffer();
  return response.headers.get('larder-request') ?? '';
}

/** @param {string} text @returns {(page: Page) => Promise<unknown>} */
const sees = (text) => (page) => page.getByText(text).first().waitFor();

/** @returns {Record<string, View>} */
const gatewayViews = () => ({
  now: ['#/now', (page) => page.getByText(/Hit ratio of the last minute: [\d.]+\s%/).waitFor()],
  routes: ['#/routes', (page) => page.getByRole('heading', { name: /takes \d+\s% of the origin’s time/ }).waitFor()],
  route: ['#/routes?open=%2Fme', sees('because the answer sets a cookie')],
  explain: [`#/explain?url=${encodeURIComponent(`${gateway.url}/search?q=word-2&utm_source=x`)}`, sees('Nothing is stored under this key.')],
  past: [`#/explain?request=${past.gateway}`, sees('from the origin')],
  entries: ['#/entries', (page) => page.getByRole('heading', { name: /^[\d,]+ entries$/ }).waitFor()],
  entry: [`#/entries?key=${encodeURIComponent(`${gateway.url}/posts/7`)}`, sees('Goods that keep.')],
  gone: ['#/entries?show=gone', (page) => page.getByRole('heading', { name: /What went|keys?/ }).first().waitFor()],
  purge: [
    '#/purge',
    async (page) => {
      await page.getByLabel('Tag', { exact: true }).last().fill('post:7');
      await page.getByRole('button', { name: 'Purge 1 entry' }).click();
      await page.getByText(/Purged( \(.+\))?, everywhere\./).waitFor();
    },
  ],
  theatre: [
    '#/theatre',
    async (page) => {
      await page.getByText(/were drawn, one by one/).waitFor();
      await page.getByRole('region', { name: 'The last that went on' }).getByRole('link').first().waitFor();
    },
  ],
});

/** The same of an application whose cache is a library's. @returns {Record<string, View>} */
const blogViews = () => ({
  now: ['#/now', (page) => page.getByText(/Hit ratio of the last minute: [\d.]+\s%/).waitFor()],
  routes: ['#/routes', (page) => page.getByRole('heading', { name: /takes \d+\s% of the origin’s time/ }).waitFor()],
  route: ['#/routes?open=%2Fapi%2Fposts%2F%7Bid%7D', sees('because nothing was stored for them')],
  explain: [`#/explain?url=${encodeURIComponent(`${backend()}/api/posts/2`)}`, sees('The next request is answered from memory')],
  past: [`#/explain?request=${past.blog}`, sees('from the origin')],
  entries: ['#/entries', (page) => page.getByRole('heading', { name: /^3 entries$/ }).waitFor()],
  entry: ['#/entries?key=%2Fposts%2F1', sees('/api/posts/{id}')],
  purge: [
    '#/purge',
    async (page) => {
      await page.getByLabel('Tag', { exact: true }).last().fill('post:3');
      await page.getByRole('button', { name: 'Purge 1 entry' }).click();
      await page.getByText(/Purged( \(.+\))?, everywhere\./).waitFor();
      await page.goto(page.url().replace(/#.*/, '#/now'));
      await page.getByRole('region', { name: 'What was purged' }).getByText('tag post:3').first().waitFor();
    },
  ],
  theatre: ['#/theatre', sees('Slow the origin')],
});

const SETS = /** @type {const} */ ([
  ['gateway', gatewayViews, () => gateway.admin],
  ['blog', blogViews, () => blog.urls.console ?? ''],
]);

for (const [server, views, admin] of SETS) {
  describe(`of the ${server}, under load`, () => {
    // Their names are known before the servers run, where each is still without its URL.
    const names = /** @type {const} */ ({
      gateway: ['now', 'routes', 'route', 'explain', 'past', 'entries', 'entry', 'gone', 'purge', 'theatre'],
      blog: ['now', 'routes', 'route', 'explain', 'past', 'entries', 'entry', 'purge', 'theatre'],
    })[server];
    names.forEach((name, place) => {
      for (const { colorScheme, size, viewport } of diagonal(place)) {
        test(`${name}, ${colorScheme}, ${size} pixels wide`, async () => {
          const [hash, walk] = views()[name] ?? ['', sees('')];
          const page = await open({ colorScheme, viewport, reducedMotion: 'reduce' }, `${admin()}/${hash}`);
          await page.getByText('live', { exact: true }).waitFor();
          await walk(page);
          await lookAt(page, `${server}-${name}-${size}-${colorScheme}`);
          await leave(page);
        });
      }
    });
  });
}

test('with tokens it tells nothing before one is shown, reads with one, and changes with the other', async () => {
  const tokens = { 'read-token': 'r'.repeat(32), 'write-token': 'w'.repeat(32) };
  const admin = 'read_token_file = "read-token"\nwrite_token_file = "write-token"\n';
  const guarded = await startGateway(configuration(site.url), { admin, files: tokens });
  try {
    await (await fetch(`${guarded.url}/posts/1`)).arrayBuffer();
    const page = await open({}, `${guarded.admin}/#/purge`);
    const show = async (/** @type {string} */ token) => {
      await page.getByLabel('Token', { exact: true }).fill(token);
      await page.getByRole('button', { name: 'Show it' }).click();
    };
    await page.getByRole('heading', { name: 'This console needs a token' }).waitFor();
    await show('x'.repeat(32));
    await page.getByText(/That one did not do/).waitFor();
    await show(tokens['read-token']);
    await page.getByRole('button', { name: 'Forget the token' }).waitFor();
    await page.getByText(/^live/).waitFor();
    await page.getByLabel('Tag', { exact: true }).last().fill('post:1');
    await page.getByRole('button', { name: 'Purge 1 entry' }).click();
    await page.getByRole('heading', { name: 'Changes need the write token' }).waitFor();
    await lookAt(page, 'token');
    await show(tokens['write-token']);
    await page.getByRole('button', { name: 'Purge 1 entry' }).click();
    await page.getByText(/Purged( \(.+\))?, everywhere\./).waitFor();
    // Neither an address nor any storage has them.
    const kept = await page.evaluate(() => [location.href, document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage)].join('\n'));
    for (const token of Object.values(tokens)) assert.ok(!kept.includes(token), 'a token was kept');
    await page.reload();
    await page.getByRole('heading', { name: 'This console needs a token' }).waitFor();
    // The browser itself notes each answer that is none: those were asked for.
    complaints.set(page, (complaints.get(page) ?? []).filter((text) => !text.includes('401')));
    await leave(page);
  } finally {
    await guarded.stop();
  }
});

test('an open page says that the gateway is gone, goes on where it left off once it is back, and after a reload knows the same hour', async () => {
  const port = await freePort();
  const start = () => startGateway(configuration(site.url), { adminPort: port });
  let mortal = await start();
  await ask(mortal.url, { requests: 60, readers: 4, pauseMs: 1 });
  const page = await open({}, `${mortal.admin}/#/now`);
  try {
    await page.getByText('live', { exact: true }).waitFor();
    const requests = page.getByRole('region', { name: 'Requests', exact: true });
    await requests.getByText('The same as a table').click();
    const seen = () =>
      requests.locator('tbody tr').evaluateAll((rows) => rows.flatMap((row) => [...row.querySelectorAll('td')].map((cell) => Number(cell.textContent.replaceAll(',', '')))).reduce((sum, one) => sum + one, 0));
    await until(async () => (await seen()) >= 60, 'all requests are told');
    await page.reload();
    await requests.getByText('The same as a table').click();
    await until(async () => (await seen()) >= 60, 'what was before the reload is told again');

    await mortal.stop();
    await page.getByText('not live: trying again', { exact: true }).waitFor();
    await lookAt(page, 'gone-away');
    mortal = await start();
    await page.getByText('live', { exact: true }).waitFor({ timeout: 20_000 });
    await ask(mortal.url, { requests: 30, readers: 4, pauseMs: 1 });
    await until(async () => (await seen()) >= 90, 'what came after is told beside what was before');
    complaints.delete(page);
    await leave(page);
  } finally {
    await mortal.stop();
  }
});

test('a service that fails readers, or is down, is said at one glance', async () => {
  const failing = await startSite();
  const hurt = await startGateway(configuration(failing.url));
  try {
    failing.fail(503);
    const page = await open({}, `${hurt.admin}/#/now`);
    await page.getByText('live', { exact: true }).waitFor();
    await ask(hurt.url, { requests: 60, readers: 4, pauseMs: 5 });
    const health = page.getByRole('region', { name: 'Health' });
    await health.getByRole('heading', { name: /The origin fails|shop is down/ }).waitFor();
    await page.getByRole('region', { name: 'What failed' }).getByText(/calls of the origin failed/).first().waitFor();
    await lookAt(page, 'failing');
    await failing.stop();
    await ask(hurt.url, { requests: 60, readers: 4, pauseMs: 5 });
    await health.getByText(/shop is down/).first().waitFor();
    await lookAt(page, 'down');
    await leave(page);
  } finally {
    await hurt.stop();
  }
});

/** @type {WeakMap<Page, string[]>} */
const complaints = new WeakMap();

/**
 * @param {import('playwright-core').BrowserContextOptions} options
 * @param {string} url
 */
async function open(options, url) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  /** @type {string[]} */
  const said = [];
  complaints.set(page, said);
  page.on('pageerror', (error) => said.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.text().includes('Content Security Policy')) said.push(message.text());
  });
  await page.goto(url);
  return page;
}

/** @param {Page} page */
async function leave(page) {
  await page.context().close();
  assert.deepEqual(complaints.get(page) ?? [], []);
}

/**
 * @param {() => Promise<boolean>} isSo
 * @param {string} what
 */
async function until(isSo, what) {
  const latest = Date.now() + 15_000;
  while (!(await isSo())) {
    assert.ok(Date.now() < latest, `waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
