// Takes the README's pictures: docs/page.png of the page as it is built into BLOG_BIN, and docs/console.png of the console of
// LARDER_BIN after two minutes of load: npm run picture.
import { join } from 'node:path';
import { startBlog } from './blogProcess.mjs';
import { startGateway } from './gatewayProcess.mjs';
import { launchBrowser, Reader } from './reader.mjs';
import { ask, configuration, startSite } from './site.mjs';

const VIEW = /** @type {const} */ ({ viewport: { width: 1240, height: 900 }, colorScheme: 'light' });

/** @param {import('playwright-core').Page} page @param {string} name */
async function take(page, name) {
  // Neither the mouse nor the focus is to be seen.
  await page.mouse.move(0, 0);
  await page.evaluate(() => document.activeElement instanceof HTMLElement && document.activeElement.blur());
  await page.screenshot({ path: join(import.meta.dirname, '../../docs', name), animations: 'disabled' });
}

const browser = await launchBrowser();

const blog = await startBlog('run');
const reader = await Reader.arrive(browser, VIEW);
await reader.open(`${blog.urls.open}/?post=1`);
await reader.gauge.getByText('load 1', { exact: true }).waitFor();
await reader.waitForList();
for (let load = 2; load <= 6; load += 1) await reader.again();
await take(reader.page, 'page.png');
await reader.leave();
await blog.stop();

const site = await startSite();
const gateway = await startGateway(configuration(site.url));
const page = await (await browser.newContext(VIEW)).newPage();
await page.goto(`${gateway.admin}/#/now`);
// Readers come and go: as many as this, for so long.
const purge = (/** @type {unknown} */ body) =>
  fetch(`${gateway.admin}/v1/purge`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
for (const readers of [12, 20, 30, 24, 14, 26, 34, 22]) {
  await ask(gateway.url, { requests: readers * 75, readers, pauseMs: 190 });
  if (readers === 24) await purge({ tags: ['post:7'] });
  if (readers === 26) await purge({ prefix: `${gateway.url}/style` });
}
await take(page, 'console.png');
await gateway.stop();
await site.stop();
await browser.close();
