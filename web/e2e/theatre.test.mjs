// The Theatre over a real gateway: single requests go on as they were answered, and a gateway shows its plain hits only for as
// long as somebody watches.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { startGateway } from './gatewayProcess.mjs';
import { lookAt, PICTURES } from './looks.mjs';
import { launchBrowser } from './reader.mjs';
import { ask, configuration, startSite } from './site.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./site.mjs').Site} */
let site;
/** @type {import('./gatewayProcess.mjs').Gateway} */
let gateway;

before(async () => {
  await mkdir(PICTURES, { recursive: true });
  browser = await launchBrowser();
  site = await startSite();
  gateway = await startGateway(configuration(site.url));
  await ask(gateway.url, { requests: 200, readers: 8, pauseMs: 1 });
});
after(async () => {
  await browser.close();
  await Promise.all([gateway.stop(), site.stop()]);
});

/** How many of so many plain hits had an id in their answers. */
async function hitsWithIds() {
  let count = 0;
  for (let turn = 0; turn < 200; turn += 1) {
    const answer = await fetch(`${gateway.url}/posts/7`);
    await answer.arrayBuffer();
    if (answer.headers.has('larder-request')) count += 1;
  }
  return count;
}

/** @param {import('playwright-core').BrowserContextOptions} options */
async function open(options) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  await page.goto(`${gateway.admin}/#/theatre`);
  await page.getByText(/were drawn, one by one/).waitFor();
  return page;
}

/** So much of the stage is drawn on. @param {import('playwright-core').Page} page */
function ink(page) {
  return page.locator('.stage canvas').evaluate((canvas) => {
    if (!(canvas instanceof HTMLCanvasElement)) return -1;
    const pixels = canvas.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height).data ?? new Uint8ClampedArray();
    return [...pixels].filter((value, at) => at % 4 === 3 && value > 0).length;
  });
}

test('real requests go on one by one, each with what became of it and why, and of many some', async () => {
  assert.equal(await hitsWithIds(), 0, 'nobody watches');
  const page = await open({});
  const listed = page.getByRole('region', { name: 'The last that went on' });
  const answer = await fetch(`${gateway.url}/me`);
  await answer.arrayBuffer();
  const line = listed.getByRole('listitem').filter({ has: page.getByRole('link', { name: '/me', exact: true }) });
  assert.match((await line.textContent()) ?? '', /Miss, because the answer sets a cookie .*at the origin/);
  assert.equal(await line.getByRole('link').getAttribute('href'), `#/explain?request=${answer.headers.get('larder-request')}`);
  assert.ok((await ink(page)) > 50, 'it is seen on the stage');

  const shown = await hitsWithIds();
  assert.ok(shown > 0 && shown < 60, `${shown} of 200 hits were shown`);
  await listed.getByRole('link', { name: '/posts/7' }).first().waitFor();

  const load = ask(gateway.url, { requests: 600, readers: 6, pauseMs: 30 });
  await page.waitForTimeout(2500);
  const said = (await page.getByText(/were drawn, one by one/).textContent()) ?? '';
  const [, drawn, all] = /Since you came ([\d,]+) of ([\d,]+) were drawn/.exec(said)?.map((digits) => Number(digits.replaceAll(',', ''))) ?? [];
  assert.ok((drawn ?? 0) > 5 && (all ?? 0) > 2 * (drawn ?? 0), said);
  await lookAt(page, 'theatre-single');
  await load;

  await line.first().getByRole('link').first().click().catch(() => page.goto(`${gateway.admin}/#/explain?request=${answer.headers.get('larder-request')}`));
  await page.getByRole('heading', { name: 'What became of it' }).waitFor();
  // The stream ends with the view, and with it what hits had to do.
  const latest = Date.now() + 10_000;
  while ((await hitsWithIds()) > 0) assert.ok(Date.now() < latest, 'nobody watches any more');
  await page.context().close();
});

test('whoever wants less motion sees them stand still, and others at a press', async () => {
  const page = await open({ reducedMotion: 'reduce', viewport: { width: 360, height: 740 }, colorScheme: 'dark' });
  assert.equal(await page.getByRole('radio', { name: 'stopped' }).isChecked(), true);
  await ask(gateway.url, { requests: 60, readers: 4, pauseMs: 5 });
  const listed = page.getByRole('region', { name: 'The last that went on' });
  await listed.getByRole('link').first().waitFor();
  const picture = () => page.locator('.stage canvas').evaluate((canvas) => (canvas instanceof HTMLCanvasElement ? canvas.toDataURL() : ''));
  const lines = await listed.textContent();
  const before = await picture();
  await page.waitForTimeout(700);
  assert.equal(await picture(), before, 'nothing moves');
  await ask(gateway.url, { requests: 60, readers: 4, pauseMs: 5 });
  assert.equal(await listed.textContent(), lines, 'nor is it replaced while one reads');
  await page.getByRole('button', { name: 'Show the next ones' }).click();
  await page.waitForFunction((old) => document.querySelector('.soloists')?.textContent !== old, lines);
  await lookAt(page, 'theatre-still-360-dark');
  await page.context().close();
});
