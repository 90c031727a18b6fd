// Takes the README's picture, docs/page.png, of the page as it is built into BLOG_BIN: npm run picture.
import { join } from 'node:path';
import { startBlog } from './blogProcess.mjs';
import { launchBrowser, Reader } from './reader.mjs';

const browser = await launchBrowser();
const blog = await startBlog('run');
const reader = await Reader.arrive(browser, { viewport: { width: 1240, height: 900 }, colorScheme: 'light' });
await reader.open(`${blog.urls.open}/?post=1`);
await reader.gauge.getByText('load 1', { exact: true }).waitFor();
await reader.waitForList();
for (let load = 2; load <= 6; load += 1) await reader.again();
// Neither the mouse nor the focus is to be seen.
await reader.page.mouse.move(0, 0);
await reader.page.evaluate(() => document.activeElement instanceof HTMLElement && document.activeElement.blur());
await reader.page.screenshot({ path: join(import.meta.dirname, '../../docs/page.png'), animations: 'disabled' });
await reader.leave();
await browser.close();
await blog.stop();
