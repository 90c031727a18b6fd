// What only a long time, or many at once, would show: a console that is left open for a day keeps its memory, and as many as a
// gateway takes cost it a bounded amount. `make test-long` runs it.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { get } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { startConsole } from './consoleServer.mjs';
import { startGateway } from './gatewayProcess.mjs';
import { launchBrowser } from './reader.mjs';
import { ask, configuration, startSite } from './site.mjs';

const DAY_SECONDS = 86_400;
/** So many seconds come at once: a page draws after what came together. */
const AT_ONCE = 60;
/** The pause between: the day takes about a minute. */
const PAUSE_MS = 35;
/** What a day may add to a page's heap, whose own garbage collector was told to do its work. */
const MOST_MORE_BYTES = 3 << 20;

/** @typedef {import('playwright-core').Page} Page */

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  browser = await launchBrowser();
});
after(() => browser.close());

test('a day of seconds leaves the memory of the page as it was after its first hour', async (t) => {
  const server = await startConsole({ isTicking: false });
  t.after(() => server.stop());
  const pages = await Promise.all(
    ['now', 'theatre', 'purge'].map(async (view) => {
      const page = await (await browser.newContext()).newPage();
      await page.goto(`${server.url}#/${view}`);
      await page.getByText('live', { exact: true }).waitFor();
      return { view, page };
    }),
  );
  // An hour fills what is kept.
  await secondsGoBy(server.admin, 2 * 3600);
  const began = await Promise.all(pages.map(({ page }) => heapOf(page)));
  await secondsGoBy(server.admin, DAY_SECONDS);
  const ended = await Promise.all(pages.map(({ page }) => heapOf(page)));
  // The first has drawn the last second of all.
  const last = (server.admin.samples.at(-1)?.second ?? 0) * 1000;
  const time = await pages[0]?.page.evaluate((millis) => new Date(millis).toLocaleTimeString('en-GB'), last);
  await pages[0]?.page.locator('.stack-times').first().getByText(String(time)).waitFor({ timeout: 5000 });
  for (const [at, { view, page }] of pages.entries()) {
    const [early = 0, late = 0] = [began[at], ended[at]];
    t.diagnostic(`${view}: ${early} bytes after two hours, ${late} after a day more`);
    assert.ok(late - early < MOST_MORE_BYTES, `${view} grew by ${late - early} bytes`);
    // It has followed all the while.
    await page.getByText('live', { exact: true }).waitFor();
    await page.context().close();
  }
});

test('as many consoles as a gateway takes are open, half of them never read, and it stays as large as it was', async (t) => {
  const site = await startSite();
  t.after(() => site.stop());
  const gateway = await startGateway(configuration(site.url));
  t.after(() => gateway.stop());
  await ask(gateway.url, { requests: 2000, readers: 8, pauseMs: 0 });
  const alone = await residentBytes(gateway.pid);

  const consoles = await Promise.all(Array.from({ length: 32 }, () => listen(gateway.admin)));
  assert.deepEqual([...new Set(consoles.map(({ status }) => status))], [200]);
  assert.equal((await listen(gateway.admin)).status, 503, 'one more is refused');
  const readers = consoles.filter((_, at) => at % 2 === 0);
  let seconds = 0;
  for (const { response } of readers) response.on('data', (/** @type {Buffer} */ piece) => (seconds += String(piece).split('event: second').length - 1));

  const got = await ask(gateway.url, { requests: 12_000, readers: 8, pauseMs: 10 });
  const together = await residentBytes(gateway.pid);
  t.diagnostic(`${alone} bytes without consoles, ${together} with 32; ${seconds} seconds were told`);
  assert.ok(together - alone < 32 << 20, `it grew by ${together - alone} bytes`);
  assert.equal([...got.values()].some((verdicts) => verdicts.has('refused')), false);
  // Fifteen seconds, each to sixteen who read; what a busy machine does not come to is left.
  assert.ok(seconds >= 16 * 8, `${seconds} seconds reached those who read`);

  for (const { response } of consoles) response.destroy();
  const latest = Date.now() + 10_000;
  for (;;) {
    const { status, response } = await listen(gateway.admin);
    response.destroy();
    if (status === 200) break;
    assert.ok(Date.now() < latest, 'those that have gone make room');
    await pause(100);
  }
});

/**
 * @param {import('./consoleServer.mjs').ConsoleServer['admin']} admin
 * @param {number} seconds
 */
async function secondsGoBy(admin, seconds) {
  for (let passed = 0; passed < seconds; passed += AT_ONCE) {
    for (let second = 0; second < AT_ONCE; second += 1) admin.pass({ evictions: second % 3 });
    // A server keeps no more of it than an hour either.
    admin.samples.splice(0, Math.max(0, admin.samples.length - 3600));
    await pause(PAUSE_MS);
  }
}

/**
 * What its scripts hold, once nothing is left that nobody needs.
 * @param {Page} page
 */
async function heapOf(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');
  // What is freed by one pass may have held what the next one frees.
  for (let time = 0; time < 3; time += 1) {
    await session.send('HeapProfiler.collectGarbage');
    await pause(200);
  }
  const { metrics } = await session.send('Performance.getMetrics');
  await session.detach();
  const used = metrics.find(({ name }) => name === 'JSHeapUsedSize')?.value;
  assert.ok(used !== undefined && used > 0, 'the browser tells how large the heap is');
  return used;
}

/**
 * An event stream, as a console opens it.
 * @param {string} admin
 */
async function listen(admin) {
  /** @type {import('node:http').IncomingMessage} */
  const response = await new Promise((resolve, reject) => {
    get(`${admin}/v1/events?only=second,purge,stats`, { agent: false }, resolve).on('error', reject);
  });
  // It is ended by us, which is an error by its own account.
  response.on('error', () => undefined);
  return { status: response.statusCode, response };
}

/** @param {number} pid */
async function residentBytes(pid) {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}
