// Looks at a page as it stands: a picture for whoever wants to see it, nothing to scroll sideways, nothing for axe to object to.
import { AxeBuilder } from '@axe-core/playwright';
import assert from 'node:assert/strict';
import { join } from 'node:path';

export const PICTURES = process.env.SCREENSHOTS ?? join(import.meta.dirname, 'screenshots');

/**
 * @param {import('playwright-core').Page} page
 * @param {string} name of its picture
 */
export async function lookAt(page, name) {
  await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(excess, 0, `${excess} pixels stick out`);
  const { violations } = await new AxeBuilder({ page }).analyze();
  const objections = violations.map(
    ({ id, impact, nodes }) => `${impact}: ${id} at ${nodes.map(({ target }) => target.join(' ')).join(', ')}`,
  );
  assert.deepEqual(objections, []);
}
