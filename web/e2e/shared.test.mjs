// The console of gateways that share a Redis: who is there, how far each has read the log of purges, and what it holds.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { freePort } from './blogProcess.mjs';
import { startProcess } from './childProcess.mjs';
import { startGateway } from './gatewayProcess.mjs';
import { lookAt, PICTURES } from './looks.mjs';
import { launchBrowser } from './reader.mjs';
import { ask, configuration, startSite } from './site.mjs';

/** @typedef {import('./gatewayProcess.mjs').Gateway} Gateway */

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./site.mjs').Site} */
let site;
/** @type {{ stop: () => Promise<void>, kill: () => Promise<void> }} */
let redis;
/** @type {[Gateway, Gateway]} */
let gateways;

/** @param {string} port */
function startRedis(port) {
  const args = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  return startProcess('redis-server', 'redis-server', args, () => Promise.resolve({ PATH: process.env.PATH }), async ({ stdout }) => {
    for await (const line of createInterface({ input: stdout })) if (/ready to accept connections/i.test(line)) break;
  });
}

before(async () => {
  await mkdir(PICTURES, { recursive: true });
  browser = await launchBrowser();
  site = await startSite();
  const port = await freePort();
  redis = await startRedis(port);
  const start = () => startGateway(`${configuration(site.url)}[shared]\nurl = "redis://127.0.0.1:${port}"\n`);
  gateways = [await start(), await start()];
  for (const { url } of gateways) await ask(url, { requests: 80, readers: 4, pauseMs: 1 });
});
after(async () => {
  await browser.close();
  await Promise.all([...gateways.map((gateway) => gateway.stop()), site.stop()]);
  await redis.stop();
});

test('each gateway that shares is told with its place in the log and its memory, a purge reaches both, and one that goes is missed', async () => {
  const [one, other] = gateways;
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  await page.goto(`${one.admin}/#/purge`);
  await page.getByText('live', { exact: true }).waitFor();
  const shared = page.getByRole('region', { name: 'Gateways that share' });
  await shared.getByText('2 are there').waitFor();
  const rows = shared.getByRole('row').filter({ has: page.getByRole('rowheader') });
  assert.equal(await rows.count(), 2);
  assert.equal(await shared.getByText('(this one)').count(), 1);
  // Both say every few seconds what they hold.
  await page.waitForFunction(() => [...document.querySelectorAll('.instances tbody tr')].every((row) => /\d+\s(Ki|Mi)?B/.test(row.textContent)));
  /** The place of each in the log, as the page says it. */
  const cursors = async () => (await rows.allTextContents()).map((text) => Number(/ at …?(\d{1,7})/.exec(text)?.[1] ?? NaN));
  const before = await cursors();

  await page.getByLabel('Tag', { exact: true }).last().fill('post:7');
  await page.getByRole('button', { name: 'Purge 1 entry' }).click();
  const receipt = page.locator('.receipt');
  await receipt.getByText(/2 of 2/).first().waitFor();
  await page.waitForFunction(
    (least) => [...document.querySelectorAll('.instances tbody tr')].every((row) => Number(/ at …?(\d{1,7})/.exec(row.textContent)?.[1]) > least),
    Math.max(...before),
  );
  assert.equal(await shared.getByText('up to date').count(), 2);
  await lookAt(page, 'shared-instances');
  // The numbers are those of the API, which the page asks every few seconds.
  const known = async () => {
    const told = await (await fetch(`${one.admin}/v1/instances`)).text();
    return [...told.matchAll(/"cursor":(\d+)/g)].map(([, cursor]) => Number(cursor?.slice(-7)));
  };
  const sorted = (/** @type {number[]} */ numbers) => numbers.toSorted((one, other) => one - other).join(' ');
  const latest = Date.now() + 15_000;
  while (sorted(await cursors()) !== sorted(await known())) {
    assert.ok(Date.now() < latest, `${sorted(await cursors())} on the page, ${sorted(await known())} told`);
    await page.waitForTimeout(200);
  }

  process.kill(other.pid, 'SIGKILL');
  await shared.getByText(/1 of 2 silent|1 is there/).waitFor({ timeout: 60_000 });
  await context.close();
});
