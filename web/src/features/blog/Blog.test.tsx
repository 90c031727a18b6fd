// The page as its reader walks through it, before servers that remember.
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { act, fireEvent, render, screen, waitFor, within } from '@testing-library/react';
import { userEvent } from '@testing-library/user-event';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { DELIBERATE } from '../../wire/deliberate';
import { Blog } from './Blog';
import { FakeEventSource, FakeServers } from './testing/fakeServers';

let servers: FakeServers;

beforeEach(() => {
  servers = new FakeServers();
  FakeEventSource.opened = [];
  vi.stubGlobal('fetch', servers.fetch);
  vi.stubGlobal('EventSource', FakeEventSource);
});

function openPage(search = '') {
  history.replaceState(null, '', `/${search}`);
  render(
    <QueryClientProvider client={new QueryClient(DELIBERATE)}>
      <Blog />
    </QueryClientProvider>,
  );
  return userEvent.setup();
}

const picker = () => screen.getByRole<HTMLSelectElement>('combobox', { name: 'Post' });
const gauge = () => within(screen.getByRole('region', { name: 'Load time' }));
const crowd = () => within(screen.getByRole('region', { name: 'A crowd' }));
const inventory = () => within(screen.getByRole('region', { name: 'In the larder' }));
const button = (name: RegExp | string) => screen.getByRole('button', { name });
const isResting = (element: HTMLElement) => element.getAttribute('aria-disabled') === 'true';
const postsAsked = () => servers.asked.filter((line) => /\/api\/posts\/\d/.test(line));

const rules = () => within(screen.getByRole('region', { name: 'The cache' }));
const toggle = (name: string) => screen.getByRole('switch', { name });
const isOn = (name: string) => toggle(name).getAttribute('aria-checked') === 'true';

const STATS = {
  name: 'posts',
  hits: 3,
  stale_served: 7,
  misses: 2,
  hit_rate: 10 / 12,
  fetches: 2,
  collapsed: 99,
  entries: 2,
  bytes: 5123,
  max_bytes: 67_108_864,
  lower: { hits: 0, misses: 0 },
};

function source() {
  const last = FakeEventSource.opened.at(-1);
  if (last === undefined) throw new Error('no event stream was opened');
  return last;
}

function countLive(stats: Partial<typeof STATS> = {}) {
  act(() => source().send({ uptime_seconds: 1, caches: [{ ...STATS, ...stats }] }));
}

async function listed() {
  await screen.findByRole('option', { name: 'Title 3 (Department 3)' });
}

async function readPost(id: number) {
  await screen.findByRole('heading', { name: `Title ${id}` });
  await screen.findByText(`Second paragraph of ${id}.`);
}

describe('reading', () => {
  test('a first load runs a clock and is a miss, a second one is a hit', async () => {
    const user = openPage();
    await listed();
    servers.slow = true;
    await user.selectOptions(picker(), '3');

    expect(await gauge().findByRole('timer')).toBeTruthy();
    expect(gauge().getByText('under way')).toBeTruthy();
    expect(isResting(button('Loading…'))).toBe(true);
    expect(screen.getByRole('heading', { name: 'Title 3' })).toBeTruthy();

    servers.release();
    await readPost(3);
    expect(gauge().getByText('MISS')).toBeTruthy();
    expect(gauge().queryByRole('timer')).toBeNull();
    expect(screen.getByText('23 November 2026').getAttribute('datetime')).toBe('2026-11-23T10:22:23.396Z');
    expect(screen.getByRole('status').textContent).toMatch(/^Post loaded in [\d.]+\sms, cache miss\.$/);

    await user.click(button('Load this post again'));
    await gauge().findByText('HIT');
    expect(gauge().getByText(/^3\ss old$/)).toBeTruthy();
    expect(screen.getByRole('status').textContent).toMatch(/cache hit, 3\ss old\.$/);
    expect(postsAsked()).toHaveLength(2);
  });

  test('a post that another backend has loaded comes from what they share', async () => {
    servers.isShared = true;
    servers.loadElsewhere(1);
    const user = openPage('?post=1');
    await readPost(1);
    expect(gauge().getByText('SHARED')).toBeTruthy();
    expect(gauge().getByText(/The backends share it/)).toBeTruthy();
    expect(screen.getByRole('status').textContent).toMatch(/hit in the shared cache, 3\ss old\.$/);
    await user.click(button('Load this post again'));
    await gauge().findByText('HIT');
  });

  test('each load of the visit is counted once, and listed as a table', async () => {
    const user = openPage('?post=1');
    await readPost(1);
    await user.selectOptions(picker(), '2');
    await readPost(2);
    await user.selectOptions(picker(), '1');
    await gauge().findByText('HIT');

    const rows = screen.getAllByRole('row').slice(1);
    expect(
      rows.map((row) =>
        within(row)
          .getAllByRole('cell')
          .slice(2, 4)
          .map((cell) => cell.textContent),
      ),
    ).toEqual([
      ['1', 'HIT, 3\u00a0s old'],
      ['2', 'MISS'],
      ['1', 'MISS'],
    ]);
    expect(screen.getByRole('img').getAttribute('aria-label')).toMatch(/^Chart of 3 load times, from .* to .*/);
  });

  test('choosing what is chosen already loads it again, and leaves no second entry in the history', async () => {
    const user = openPage('?post=1');
    await readPost(1);
    const entries = history.length;
    await user.selectOptions(picker(), '1');
    await gauge().findByText('load 2');
    expect(gauge().getByText('HIT')).toBeTruthy();
    await user.selectOptions(picker(), '1');
    await gauge().findByText('load 3');
    expect(postsAsked()).toHaveLength(3);
    expect([history.length, location.search]).toEqual([entries, '?post=1']);
  });

  test('a list that is closed with the same choice loads it again, and one that is left alone does not', async () => {
    openPage('?post=1');
    await readPost(1);
    await listed();
    // What a browser sends then: the key that opened it, and a click without a press.
    fireEvent.keyDown(picker(), { key: ' ' });
    fireEvent.click(picker(), { detail: 0 });
    await gauge().findByText('load 2');
    // Opened by a press, and closed by another.
    for (let press = 0; press < 2; press += 1) {
      fireEvent.pointerDown(picker());
      fireEvent.click(picker(), { detail: 1 });
    }
    // Another choice is told as a change, and the click that follows is not one more.
    fireEvent.pointerDown(picker());
    fireEvent.change(picker(), { target: { value: '2' } });
    fireEvent.click(picker(), { detail: 0 });
    await readPost(2);
    await gauge().findByText('load 3');
    expect(postsAsked()).toHaveLength(3);
  });

  test('choosing it once more while it is under way is not another load', async () => {
    const user = openPage();
    await listed();
    servers.slow = true;
    await user.selectOptions(picker(), '1');
    await user.selectOptions(picker(), '1');
    servers.release();
    await gauge().findByText('load 1');
    expect(postsAsked()).toHaveLength(1);
  });

  test('both presses of a double click are loads, and a later one while the post is under way is not', async () => {
    const user = openPage('?post=1');
    await readPost(1);
    await user.dblClick(button('Load this post again'));
    await gauge().findByText('load 3');

    countLive();
    await user.click(button('Clear the cache'));
    await inventory().findByText(/^Cleared/);
    servers.slow = true;
    await user.click(button('Load this post again'));
    fireEvent.click(button('Loading…'), { detail: 1 });
    fireEvent.click(button('Loading…'), { detail: 2 });
    servers.release();
    await gauge().findByText('load 4');
    expect(postsAsked()).toHaveLength(4);
  });

  test('the choice lives in the address: contents, back and forward', async () => {
    const user = openPage();
    await user.click(await screen.findByRole('link', { name: 'Title 2' }));
    await readPost(2);
    expect(location.search).toBe('?post=2');
    expect(picker().value).toBe('2');
    expect(document.activeElement).toBe(screen.getByRole('main'));

    act(() => history.back());
    await screen.findByRole('heading', { name: 'Choose a post' });
    expect(picker().value).toBe('');

    act(() => history.forward());
    await readPost(2);
    expect(document.title).toBe('Title 2 · Larder');
  });
});

describe('trouble', () => {
  test('an unknown post is said to be unknown, and the contents lead on', async () => {
    openPage('?post=99');
    expect(await screen.findByRole('heading', { name: 'There is no post 99' })).toBeTruthy();
    expect(picker().selectedOptions[0]?.textContent).toBe('Post 99');
    expect(await screen.findByRole('link', { name: 'Title 1' })).toBeTruthy();
    expect(gauge().getByText('FAILED')).toBeTruthy();
  });

  test('what cannot be a post is refused without asking', async () => {
    openPage('?post=abc');
    expect(await screen.findByRole('heading', { name: '“abc” is not the number of a post' })).toBeTruthy();
    await listed();
    expect(postsAsked()).toEqual([]);
  });

  test('a stopped posts service spares what is kept; trying again recovers', async () => {
    const user = openPage('?post=1');
    await readPost(1);
    servers.postsServiceUp = false;

    await user.selectOptions(picker(), '2');
    expect((await screen.findByRole('alert')).textContent).toContain('The posts service is down');
    await user.selectOptions(picker(), '1');
    await gauge().findByText('HIT');
    await user.selectOptions(picker(), '2');
    await screen.findByRole('alert');

    servers.postsServiceUp = true;
    await user.click(button('Try again'));
    await readPost(2);
    expect(screen.queryByRole('alert')).toBeNull();
    expect(document.activeElement).toBe(screen.getByRole('main'));
  });

  test('a post that is being read stays when loading it again fails', async () => {
    const user = openPage('?post=1');
    await readPost(1);
    servers.backendUp = false;
    await user.click(button('Load this post again'));
    await screen.findByRole('heading', { name: 'The backend does not answer' });
    expect(screen.getByText('Second paragraph of 1.')).toBeTruthy();
  });

  test('a list that failed can be fetched again', async () => {
    servers.postsServiceUp = false;
    const user = openPage();
    await screen.findByRole('heading', { name: 'No list of posts: the posts service is down' });
    expect(picker().disabled).toBe(true);

    servers.postsServiceUp = true;
    await user.click(button('Fetch the list again'));
    await listed();
    expect(picker().disabled).toBe(false);
  });

  test('one retry brings back both the post and the list', async () => {
    servers.backendUp = false;
    const user = openPage('?post=2');
    await screen.findByRole('heading', { name: 'The backend does not answer' });
    servers.backendUp = true;
    await user.click(button('Try again'));
    await readPost(2);
    await listed();
  });

  test('no posts is a state of its own', async () => {
    servers.posts = [];
    openPage();
    expect(await screen.findByRole('heading', { name: 'No posts yet' })).toBeTruthy();
  });

  test('a page without configuration says so and can try again', async () => {
    servers.pageServerUp = false;
    const user = openPage();
    await screen.findByRole('heading', { name: 'The page could not find its backend' });
    servers.pageServerUp = true;
    await user.click(button('Try again'));
    await listed();
  });

  test('nothing is asked again unasked', async () => {
    servers.postsServiceUp = false;
    openPage('?post=2');
    await screen.findByRole('alert');
    act(() => {
      window.dispatchEvent(new Event('focus'));
      window.dispatchEvent(new Event('online'));
      document.dispatchEvent(new Event('visibilitychange'));
    });
    await screen.findByText('No list of posts: the posts service is down.');
    expect(postsAsked()).toHaveLength(1);
    expect(servers.asked.filter((line) => line === 'GET /api/posts')).toHaveLength(1);
  });
});

describe('the switches', () => {
  test('off from the start is called the before picture', async () => {
    servers.cacheEnabled = false;
    openPage('?post=1');
    await readPost(1);
    expect(await rules().findByText('The cache is off: this is the before picture.')).toBeTruthy();
    expect(isOn('Cache')).toBe(false);
    expect(gauge().getByText('BYPASS')).toBeTruthy();
    expect(crowd().getByText(/no cache stands in between/)).toBeTruthy();
  });

  test('turn the cache off and on, and what it held is still there', async () => {
    const user = openPage('?post=1');
    await readPost(1);
    await rules().findByText(/Fresh for 5\smin\. Then the next load waits/);
    await user.click(toggle('Cache'));
    await rules().findByText(/before picture/);
    await user.click(button('Load this post again'));
    await gauge().findByText('BYPASS');
    expect(crowd().getByText(/no cache stands in between/)).toBeTruthy();

    await user.click(toggle('Cache'));
    await rules().findByText(/Fresh for/);
    await user.click(button('Load this post again'));
    await gauge().findByText('HIT');
  });

  test('show what serving stale brings: the old copy now, the new one after', async () => {
    const user = openPage('?post=1');
    await readPost(1);
    countLive();
    const expire = async () => {
      await user.click(button('Let all expire'));
      await inventory().findByText('From now on every copy counts as expired.');
      await user.click(button('Load this post again'));
    };
    await expire();
    await gauge().findByText('load 2');
    expect(gauge().getByText('MISS')).toBeTruthy();

    await user.click(toggle('Stale while revalidate'));
    await rules().findByText(/For 1\smin more, the old copy is given while a new one is fetched/);
    await expire();
    await gauge().findByText('STALE');
    expect(gauge().getByText(/and sent for a new one\.$/)).toBeTruthy();
    await user.click(button('Load this post again'));
    await gauge().findByText('HIT');
  });

  test('nothing new is promised while the posts service fails', async () => {
    servers.staleWhileRevalidate = true;
    const user = openPage('?post=1');
    await readPost(1);
    countLive();
    servers.postsServiceUp = false;
    await user.click(button('Let all expire'));
    await inventory().findByText(/counts as expired/);
    await user.click(button('Load this post again'));
    await gauge().findByText('STALE');
    expect(await gauge().findByText(/so there is no newer one\.$/)).toBeTruthy();
    expect(gauge().queryByText(/sent for/)).toBeNull();
  });

  test('follow what another page has switched', async () => {
    openPage();
    await listed();
    await rules().findByText(/Fresh for/);
    servers.cacheEnabled = false;
    await rules().findByText(/before picture/);
    expect(isOn('Cache')).toBe(false);
    expect(screen.getByText(/^The cache is off: every load takes two seconds\.$/)).toBeTruthy();
  });

  test('rest while the backend does not answer, and come back with it', async () => {
    const user = openPage();
    await listed();
    await rules().findByText(/Fresh for/);
    servers.backendUp = false;
    await rules().findByText(/nothing can be switched now/);
    expect(isResting(toggle('Cache'))).toBe(true);
    await user.click(toggle('Cache'));
    expect(servers.asked.some((line) => line.startsWith('PATCH'))).toBe(false);
    servers.backendUp = true;
    await rules().findByText(/Fresh for/);
    expect(isResting(toggle('Cache'))).toBe(false);
  });

  test('rest before a backend that has no rules to tell, and reading goes on', async () => {
    servers.rulesUp = false;
    openPage('?post=1');
    await readPost(1);
    await rules().findByText(/nothing can be switched now/);
    expect([isOn('Cache'), isResting(toggle('Cache'))]).toEqual([true, true]);
  });

  test('are off before such a backend, if the page’s server says so', async () => {
    servers.rulesUp = false;
    servers.cacheEnabled = false;
    openPage('?post=1');
    await readPost(1);
    expect(rules().getByText('The cache is off: this is the before picture.')).toBeTruthy();
    expect(isOn('Cache')).toBe(false);
  });

  test('have nothing stale to offer where nothing stays fresh', async () => {
    servers.ttlSeconds = 0;
    openPage();
    await listed();
    await rules().findByText(/CACHE_TTL_SECONDS is 0/);
    expect([isResting(toggle('Cache')), isResting(toggle('Stale while revalidate'))]).toEqual([false, true]);
  });
});

describe('a crowd', () => {
  test('needs a post', async () => {
    const user = openPage();
    await listed();
    const send = crowd().getByRole('button');
    expect(isResting(send)).toBe(true);
    await user.click(send);
    expect(servers.asked.some((line) => line.includes('/crowd'))).toBe(false);
  });

  test('comes after the post was made cold, and costs one call', async () => {
    const user = openPage('?post=3');
    await readPost(3);
    await user.click(button('Let 100 users ask at once'));

    expect(await crowd().findByText(/fetch for/)).toBeTruthy();
    expect(crowd().getByText('1')).toBeTruthy();
    expect(crowd().getByText('Answered').nextSibling?.textContent).toBe('100');
    expect(crowd().getByText('Slowest').nextSibling?.textContent).toBe('2012\u00a0ms');
    expect(servers.asked.slice(-2)).toEqual([
      'POST /v1/purge {"keys":["/posts/3"],"mode":"hard"}',
      'POST /crowd {"post_id":3,"users":100}',
    ]);
    expect(screen.getByRole('status').textContent).toBe('100 users asked: 100 answered, 0 failed, 1 fetch.');
  });

  test('comes to a warm post when the console is out of reach, and says so', async () => {
    servers.consoleUp = false;
    const user = openPage('?post=3');
    await readPost(3);
    await user.click(button('Let 100 users ask at once'));
    expect(await crowd().findByText(/could not be cleared first/)).toBeTruthy();
    expect(crowd().getByText('0', { selector: 'strong' })).toBeTruthy();
  });

  test('that cannot be sent says so', async () => {
    const user = openPage('?post=3');
    await readPost(3);
    servers.pageServerUp = false;
    await user.click(button('Let 100 users ask at once'));
    expect(await crowd().findByText(/The crowd could not be sent/)).toBeTruthy();
  });
});

describe('the larder', () => {
  test('is counted live', async () => {
    openPage();
    await listed();
    expect(source().url).toBe('http://localhost:9191/v1/events');
    expect(inventory().getByText('Hit rate').nextSibling?.textContent).toBe('–');
    expect(inventory().getAllByRole('button').every(isResting)).toBe(true);
    countLive();
    expect(inventory().getByText('live')).toBeTruthy();
    expect(inventory().getByText('Hit rate').nextSibling?.textContent).toBe('83\u00a0%');
    expect(inventory().getByText('Stale').nextSibling?.textContent).toBe('7');
    expect(inventory().getByText('Collapsed').nextSibling?.textContent).toBe('99');
    expect(inventory().getByText('Held').nextSibling?.textContent).toBe('5.0\u00a0KiB of 64\u00a0MiB');
  });

  test('says how much was cleared, and the next load is a miss', async () => {
    const user = openPage('?post=1');
    await readPost(1);
    countLive();
    await user.click(button('Clear the cache'));
    expect(await inventory().findByText(/Cleared 2 entries/)).toBeTruthy();
    await user.click(button('Load this post again'));
    await waitFor(() => expect(gauge().getByText('MISS')).toBeTruthy());
  });

  test('clears all backends that share, and says at how many that holds', async () => {
    servers.isShared = true;
    const user = openPage('?post=1');
    await readPost(1);
    countLive();
    await gauge().findByText('Shared');
    await user.click(button('Clear the cache'));
    expect(await inventory().findByText(/Cleared at 2 backends/)).toBeTruthy();
    expect(servers.asked.at(-1)).toBe('POST /v1/purge {"all":true,"mode":"hard","wait":"shared","timeout_ms":5000}');
  });

  test('counts what came from the shared tier, where there is one', async () => {
    openPage();
    await listed();
    countLive();
    expect(inventory().queryByText('Shared')).toBeNull();
    countLive({ lower: { hits: 5, misses: 1 } });
    expect(inventory().getByText('Shared').nextSibling?.textContent).toBe('5');
  });

  test('keeps its last numbers when the console is lost, and reading goes on', async () => {
    const user = openPage('?post=1');
    await readPost(1);
    countLive();
    act(() => source().break(0));
    expect(inventory().getByText('connection lost, trying again')).toBeTruthy();
    expect(inventory().getByText('Hits').nextSibling?.textContent).toBe('3');
    expect(isResting(button('Clear the cache'))).toBe(true);
    await user.click(button('Load this post again'));
    await gauge().findByText('HIT');
  });

  test('is connected again by hand when the browser has given up', async () => {
    const user = openPage();
    await listed();
    act(() => source().break(2));
    await user.click(button('Connect again'));
    expect(FakeEventSource.opened).toHaveLength(2);
    countLive();
    expect(inventory().getByText('live')).toBeTruthy();
  });
});
