// The console of a real gateway under load: each view shows it, and every number is that of the metrics and of the readers.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { byVerdict, metricsOf, startGateway } from './gatewayProcess.mjs';
import { launchBrowser } from './reader.mjs';
import { ask, configuration, startSite } from './site.mjs';

const PICTURES = process.env.SCREENSHOTS ?? join(import.meta.dirname, 'screenshots');

/** The order of the verdicts in charts' tables. */
const VERDICTS = ['hit', 'stale', 'collapsed', 'miss', 'pass', 'refused'];

/** @typedef {import('playwright-core').Page} Page */

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./site.mjs').Site} */
let site;
/** @type {import('./gatewayProcess.mjs').Gateway} */
let gateway;
/** @type {Page} */
let page;
/** Script errors, and breaches of the content security policy: there must be none. @type {string[]} */
const complaints = [];

before(async () => {
  await mkdir(PICTURES, { recursive: true });
  site = await startSite();
  gateway = await startGateway(configuration(site.url));
  browser = await launchBrowser();
  page = await (await browser.newContext({ viewport: { width: 1440, height: 1000 } })).newPage();
  page.setDefaultTimeout(10_000);
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.text().includes('Content Security Policy')) complaints.push(message.text());
  });
});
after(async () => {
  await browser.close();
  await gateway.stop();
  await site.stop();
});

/** @param {string} hash */
async function open(hash) {
  await page.goto(`${gateway.admin}/${hash}`);
  await page.getByText('live', { exact: true }).waitFor();
}

/** @param {string} name */
async function picture(name) {
  await page.screenshot({ path: join(PICTURES, `gateway-${name}.png`), fullPage: true });
}

/** @type {import('./gatewayProcess.mjs').ByRoute} */
let got;

test('while it is under load, the present shows it as it comes', async () => {
  await open('#/now');
  const load = ask(gateway.url, { requests: 1200, readers: 12, pauseMs: 30 });
  await page.getByText(/Hit ratio of the last minute: [\d.]+\s%/).waitFor();
  const rate = page.getByRole('term').filter({ hasText: 'Requests a second' }).locator('xpath=..').locator('b');
  await until(async () => Number(await rate.textContent()) > 0, 'requests a second are above zero');
  got = await load;
  await picture('now-under-load');
});

test('what the readers got, the metrics and the page say with the same numbers, by verdict', async () => {
  const total = sum(byVerdict(got).values());
  assert.equal(total, 1200);
  const requests = page.getByRole('region', { name: 'Requests', exact: true });
  await requests.getByText('The same as a table').click();
  await until(async () => sum((await sumsOf(requests)).values()) >= total, 'every second has been told');
  assert.deepEqual(await sumsOf(requests), byVerdict(got));

  const metrics = await metricsOf(gateway);
  assert.deepEqual(byVerdict(metrics.requests), byVerdict(got));
  const calls = page.getByRole('region', { name: 'Calls of the origin' });
  await calls.getByText('The same as a table').click();
  const asked = await sumsOf(calls, ['answered', 'failed']);
  assert.equal(sum(asked.values()), sum(site.calls.values()));
  assert.equal(asked.get('failed'), undefined);
  assert.equal(sum(metrics.originCalls.values()), sum(site.calls.values()));

  const memory = page.getByRole('term').filter({ hasText: 'Memory' }).locator('xpath=..');
  assert.ok((await memory.textContent())?.includes(`${metrics.entries} entries`), await memory.textContent() ?? '');
  await picture('now');
});

test('and by route, each with its verdicts and the calls that it cost', async () => {
  const { requests, originCalls } = await metricsOf(gateway);
  assert.deepEqual(sorted(requests), sorted(got));
  assert.deepEqual(originCalls, site.calls);

  await open('#/routes');
  await page.getByRole('heading', { name: /^\/search takes \d+\s% of the origin’s time/ }).waitFor();
  const rows = await page.getByRole('grid', { name: 'Routes' }).getByRole('row').all();
  const shown = await Promise.all(rows.slice(1).map((row) => row.locator('[role=rowheader], [role=gridcell]').allTextContents()));
  const totals = new Map(shown.map(([name = '', total = '']) => [name.split(' ')[0] ?? '', number(total)]));
  assert.deepEqual(sorted(totals), sorted(new Map([...got].map(([route, verdicts]) => [route, sum(verdicts.values())]))));
  await picture('routes');

  for (const [route, verdicts] of got) {
    await open(`#/routes?open=${encodeURIComponent(route)}`);
    const detail = page.getByRole('region', { name: route, exact: true });
    await detail.getByRole('heading', { name: `What became of ${sum(verdicts.values())} requests` }).waitFor();
    const told = await detail.locator('.route-verdict-list li').allTextContents();
    const pairs = told.map((text) => /^\s*(\w+)\s+([\d,]+)/.exec(text)).map((found) => /** @type {const} */ ([found?.[1]?.toLowerCase() ?? '', number(found?.[2] ?? '')]));
    assert.deepEqual(new Map(pairs), new Map(VERDICTS.flatMap((verdict) => (verdicts.has(verdict) ? [[verdict, verdicts.get(verdict)]] : []))));
    await detail.getByText(new RegExp(`The origin was asked ${site.calls.get(route)} times?\\b`)).waitFor();
  }
});

test('somebody finds out why /me is never a hit, and what other rules would do', async () => {
  await open('#/routes?open=%2Fme');
  await page.getByText(/because the answer sets a cookie/).first().waitFor();
  await open(`#/explain?url=${encodeURIComponent(`${gateway.url}/posts/7`)}`);
  await page.getByText('The next request is answered from memory, and no service is asked.').waitFor();

  const [, origin = ''] = /url = "(.*)"/.exec(configuration(site.url)) ?? [];
  const other = `[upstream.shop]\nurl = "${origin}"\n[[route]]\npath = "/posts/{id}"\ncache = false\n`;
  await page.getByLabel('Choose a file').setInputFiles({ name: 'new.toml', mimeType: 'application/toml', buffer: Buffer.from(other) });
  const table = page.getByRole('region', { name: 'Today’s rules, and new.toml' });
  const verdict = table.getByRole('row', { name: /^Verdict\s*, differs/ });
  assert.match((await verdict.textContent()) ?? '', /hit\s*pass$/);
  await page.getByText('All of it by new.toml').click();
  await page.getByText('new.toml:3').first().waitFor();
  await picture('explain');

  await page.getByLabel('The text of new.toml').fill(other.replace('cache = false', 'cahce = false'));
  await page.getByText(/policy:5:1: there is no key "cahce" in \[\[route\]\]: did you mean "cache"\?/).waitFor();
  await picture('explain-mistake');
  nobodyComplains();
});

test('what is stored is listed and counted, and what is purged goes, is counted and told', async () => {
  const before = await metricsOf(gateway);
  await open('#/entries');
  await page.getByRole('heading', { name: `${before.entries} entries`, exact: true }).waitFor();
  await page.getByLabel('Key contains').fill('/posts/');
  await page.getByRole('heading', { name: '40 entries fit' }).waitFor();
  await picture('entries');

  await open('#/purge');
  await page.getByRole('radio', { name: 'URL', exact: true }).check();
  await page.getByLabel('URL, or key').fill(`${gateway.url}/posts/7`);
  await page.getByRole('radio', { name: 'Hard: gone' }).check();
  await page.getByRole('button', { name: 'Purge 1 entry' }).click();
  await page.getByRole('button', { name: 'Yes: purge 1 entry' }).click();
  await page.getByText('1 entry purged, everywhere.').waitFor();
  await picture('purge');
  await page.getByRole('link', { name: 'See what went by it' }).click();
  await page.getByText('1 key: 1 purged.').waitFor();
  await page.getByRole('link', { name: `key ${gateway.url}/posts/7` }).waitFor();
  await picture('gone');
  assert.equal((await metricsOf(gateway)).entries, before.entries - 1);

  await page.getByRole('link', { name: `${gateway.url}/posts/7`, exact: true }).click();
  await page.getByText(/^purged \d+\s?s ago by key /).waitFor();
});

test('the theatre plays what is asked', async () => {
  await open('#/theatre');
  // For so long that also a page that comes late sees some of it.
  const load = ask(gateway.url, { requests: 600, readers: 8, pauseMs: 50 });
  await page.getByText(/^\d+(?:\.\d)? requests in the last second/).waitFor();
  await pause(500);
  await picture('theatre');
  await load;
  nobodyComplains();
});

/**
 * The browser itself notes each answer that is none. Those about the rules with a mistake were asked for: they are kept, and
 * count wherever something is explained next.
 */
function nobodyComplains() {
  assert.deepEqual(complaints.splice(0).filter((text) => !text.includes('422')), []);
}

/**
 * What the table under a chart comes to, by its columns; those above zero. Its rows are seconds.
 * @param {import('playwright-core').Locator} region
 * @param {readonly string[]} names
 */
async function sumsOf(region, names = VERDICTS) {
  const rows = await region.locator('tbody tr').evaluateAll((all) => all.map((row) => [...row.querySelectorAll('td')].map((cell) => cell.textContent)));
  const pairs = names.map((name, column) => /** @type {const} */ ([name, sum(rows.map((row) => number(row[column] ?? '')))]));
  return new Map(pairs.filter(([, value]) => value > 0));
}

/** @param {string} text as the page writes it: `1,234` */
function number(text) {
  return Number(text.replaceAll(',', ''));
}

/** @param {Iterable<number>} numbers */
function sum(numbers) {
  return [...numbers].reduce((all, one) => all + one, 0);
}

/**
 * @template T
 * @param {Map<string, T>} map
 */
function sorted(map) {
  return [...map].toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([name, value]) => [name, value instanceof Map ? [...value].toSorted() : value]);
}

/**
 * @param {() => Promise<boolean>} isSo
 * @param {string} what
 */
async function until(isSo, what) {
  const latest = Date.now() + 10_000;
  while (!(await isSo())) {
    assert.ok(Date.now() < latest, `waited in vain until ${what}`);
    await pause(100);
  }
}
