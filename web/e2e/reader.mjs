// A reader in front of the page: a browser, and the words for what one does with it.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

/** Longer than any answer that these tests wait for. */
const PATIENCE_MS = 10_000;

export function launchBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

export class Reader {
  /** @type {import('playwright-core').Page} */
  page;
  /** Script errors and breaches of the content security policy: there must be none. */
  #complaints = /** @type {string[]} */ ([]);

  /** @param {import('playwright-core').Page} page */
  constructor(page) {
    this.page = page;
    page.setDefaultTimeout(PATIENCE_MS);
    page.on('pageerror', (error) => this.#complaints.push(String(error)));
    page.on('console', (message) => {
      if (message.text().includes('Content Security Policy')) this.#complaints.push(message.text());
    });
  }

  /**
   * @param {import('playwright-core').Browser} browser
   * @param {import('playwright-core').BrowserContextOptions} [options]
   */
  static async arrive(browser, options) {
    // A context of its own: no cache, no storage, nothing from the reader before.
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
    return new Reader(await context.newPage());
  }

  async leave() {
    await this.page.context().close();
    assert.deepEqual(this.#complaints, []);
  }

  /** @param {string | undefined} url */
  async open(url) {
    assert.ok(url, 'the page has an address');
    await this.page.goto(url);
    await this.page.getByRole('heading', { level: 1, name: 'Larder' }).waitFor();
  }

  get picker() {
    return this.page.getByRole('combobox', { name: 'Post' });
  }

  get gauge() {
    return this.page.getByRole('region', { name: 'Load time' });
  }

  get crowd() {
    return this.page.getByRole('region', { name: 'A crowd' });
  }

  get larder() {
    return this.page.getByRole('region', { name: 'In the larder' });
  }

  get rules() {
    return this.page.getByRole('region', { name: 'The cache' });
  }

  /** @param {'Cache' | 'Stale while revalidate'} name */
  toggle(name) {
    return this.page.getByRole('switch', { name });
  }

  /**
   * Presses the switch, and waits until it shows what was asked of it.
   * @param {'Cache' | 'Stale while revalidate'} name
   * @param {boolean} on
   */
  async switch(name, on) {
    await this.toggle(name).click();
    await this.page.locator(`[role="switch"][aria-checked="${on}"]`, { hasText: name }).waitFor();
  }

  /** @param {string} name */
  button(name) {
    return this.page.getByRole('button', { name });
  }

  async waitForList() {
    await this.page.locator('#picker:enabled').waitFor();
  }

  /** @param {number} id */
  async choose(id) {
    await this.waitForList();
    await this.#load(() => this.picker.selectOption(String(id)));
  }

  async again() {
    await this.#load(() => this.button('Load this post again').click());
  }

  /**
   * Loads the post again until the badge says `badge`.
   * @param {string} badge
   */
  async againUntil(badge) {
    const latest = Date.now() + PATIENCE_MS;
    do {
      assert.ok(Date.now() < latest, `waited in vain for ${badge}`);
      await this.again();
    } while ((await this.reading()).badge !== badge);
  }

  /** @param {string} name */
  async press(name) {
    await this.#load(() => this.button(name).click());
  }

  /** How many loads this visit has ended. */
  async loads() {
    const text = await this.gauge.locator('header').textContent();
    return Number(/load (\d+)/.exec(text ?? '')?.[1] ?? 0);
  }

  /**
   * The counter knows best when a load has ended, whatever came of it.
   * @param {() => Promise<unknown>} act
   */
  async #load(act) {
    const before = await this.loads();
    await act();
    await this.gauge.getByText(`load ${before + 1}`, { exact: true }).waitFor();
  }

  /** What the instrument shows. */
  async reading() {
    const digits = await this.gauge.locator('.gauge-number').textContent();
    const badge = await this.gauge.locator('.badge-word').textContent();
    return { ms: Number(digits), badge };
  }

  /** @param {string} title */
  async seesProblem(title) {
    await this.page.getByRole('alert').getByRole('heading', { name: title }).waitFor();
  }
}
