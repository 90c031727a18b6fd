// The console where the admin listener answers over TLS and asks for tokens: all views, live, and a purge.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { startGateway } from './gatewayProcess.mjs';
import { lookAt, PICTURES } from './looks.mjs';
import { launchBrowser } from './reader.mjs';
import { ask, configuration, startSite } from './site.mjs';

const TOKENS = { 'read-token': 'r'.repeat(32), 'write-token': 'w'.repeat(32) };

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./site.mjs').Site} */
let site;
/** @type {import('./gatewayProcess.mjs').Gateway} */
let gateway;

/** Signed by itself. */
async function certificate() {
  const folder = await mkdtemp(join(tmpdir(), 'larder-certificate-'));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const asked = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const about = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost', '-keyout', key, '-out', cert];
  await promisify(execFile)('openssl', [...asked, ...about]);
  const files = { 'key.pem': await readFile(key, 'utf8'), 'cert.pem': await readFile(cert, 'utf8') };
  await rm(folder, { recursive: true });
  return files;
}

before(async () => {
  await mkdir(PICTURES, { recursive: true });
  browser = await launchBrowser();
  site = await startSite();
  const admin = 'read_token_file = "read-token"\nwrite_token_file = "write-token"\n';
  const tls = '[admin.tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n';
  gateway = await startGateway(configuration(site.url) + tls, { admin, files: { ...TOKENS, ...(await certificate()) } });
  await ask(gateway.url, { requests: 100, readers: 4, pauseMs: 1 });
});
after(async () => {
  await browser.close();
  await Promise.all([gateway.stop(), site.stop()]);
});

test('over TLS and with tokens every view is there, live, and a purge gets through', async () => {
  assert.match(gateway.admin, /^https:/);
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  /** @type {string[]} */
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    // The browser notes each answer that is none by itself: those without a token are asked for.
    if (message.type() === 'error' && !message.text().includes('401')) complaints.push(message.text());
  });
  await page.goto(`${gateway.admin}/#/now`);
  await page.getByRole('heading', { name: 'This console needs a token' }).waitFor();
  await page.getByLabel('Token', { exact: true }).fill(TOKENS['read-token']);
  await page.getByRole('button', { name: 'Show it' }).click();
  await page.getByText(/^live/).waitFor();
  const load = ask(gateway.url, { requests: 300, readers: 4, pauseMs: 40 });
  /** @param {string} view */
  const go = (view) => page.getByRole('navigation').getByRole('link', { name: view, exact: true }).click();
  await page.getByText(/Hit ratio of the last minute: [\d.]+\s%/).waitFor();
  await go('Routes');
  await page.getByRole('heading', { name: /takes \d+\s% of the origin’s time/ }).waitFor();
  await go('Explain');
  await page.getByRole('textbox', { name: /A URL, or a line of curl/ }).fill(`${gateway.url}/me`);
  await page.getByRole('button', { name: 'Explain' }).click();
  await page.getByText(/because the answer sets a cookie/).first().waitFor();
  await go('Entries');
  await page.getByRole('heading', { name: /^[\d,]+ entries$/ }).waitFor();
  await go('Theatre');
  await page.getByText(/Since you came \d+ of \d+ were drawn, one by one/).waitFor();
  await page.getByRole('region', { name: 'The last that went on' }).getByRole('link').first().waitFor();
  await go('Purge');
  await page.getByLabel('Tag', { exact: true }).last().fill('post:7');
  await page.getByRole('button', { name: 'Purge 1 entry' }).click();
  await page.getByRole('heading', { name: 'Changes need the write token' }).waitFor();
  await page.getByLabel('Token', { exact: true }).fill(TOKENS['write-token']);
  await page.getByRole('button', { name: 'Show it' }).click();
  await page.getByRole('button', { name: 'Purge 1 entry' }).click();
  await page.getByText('Purged (1 entry in memory), everywhere.').waitFor();
  await lookAt(page, 'guarded-purge');
  await load;
  assert.deepEqual(complaints, []);
  await context.close();
});
