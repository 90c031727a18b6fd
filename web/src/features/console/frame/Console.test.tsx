// The console as its user walks through it, before an admin API that remembers.
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { act, render, screen, waitFor, within } from '@testing-library/react';
import { userEvent } from '@testing-library/user-event';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { DELIBERATE } from '../../../wire/deliberate';
import { Api } from '../api/api';
import { Session } from '../api/session';
import { FakeAdmin, secondOf } from '../testing/FakeAdmin';
import { Console } from './Console';

let admin: FakeAdmin;

beforeEach(() => {
  admin = new FakeAdmin(1_764_500_000, 300);
  vi.stubGlobal('fetch', admin.fetch);
});

function open(hash: string) {
  history.replaceState(null, '', hash);
  render(
    <QueryClientProvider client={new QueryClient(DELIBERATE)}>
      <Console api={new Api('./', new Session())} />
    </QueryClientProvider>,
  );
  return userEvent.setup();
}

const heading = (name: RegExp | string) => screen.findByRole('heading', { name });
const pass = (more: Readonly<Record<string, number | null>> = {}) => act(() => admin.pass(more));

describe('now', () => {
  test('says that all is well, and what is not once it is not', async () => {
    open('#/now');
    await heading(/All is well/);
    await screen.findByText('live');
    expect(screen.getByText(/Hit ratio of the last minute: 93\s%/)).toBeTruthy();

    for (let second = 0; second < 5; second += 1) pass({ origin_failures: 60, origin_calls: 60 });
    await heading(/The origin fails/);
    expect(within(screen.getByRole('region', { name: 'What failed' })).getByText(/300 of 300 calls of the origin failed/)).toBeTruthy();
  });

  test('what is bad is said on every view, with the way to where it is told', async () => {
    open('#/purge');
    await screen.findByText('live');
    expect(screen.queryByRole('link', { name: /The origin fails/ })).toBeNull();
    for (let second = 0; second < 5; second += 1) pass({ origin_failures: 60, origin_calls: 60, reader_errors: 50 });
    const link = await screen.findByRole('link', { name: /The origin fails/ });
    expect(link.getAttribute('href')).toBe('#/now');
  });

  test('says that it is not of now where the stream breaks off, and goes on by itself', async () => {
    open('#/now');
    await screen.findByText('live');
    act(() => admin.hangUp());
    await screen.findByText('not live: trying again');
    await screen.findByText('live');
    expect(admin.asked.filter((line) => line.includes('/v1/events')).length).toBeGreaterThan(1);
  });

  test('says first that the server does not answer, and takes nothing that was before for news', async () => {
    const user = open('#/now');
    await screen.findByText('live');
    for (let second = 0; second < 5; second += 1) pass({ origin_failures: 60, origin_calls: 60 });
    await heading(/The origin fails/);
    admin.isUp = false;
    act(() => admin.hangUp());
    await heading('Not known');
    expect(await screen.findByText(/^The server does not answer\. It is tried again and again; below is what was heard up to/)).toBeTruthy();
    expect(screen.queryByText(/The origin fails/)).toBeNull();
    await user.click(screen.getByRole('link', { name: 'Purge' }));
    expect(screen.getByText('not live: trying again')).toBeTruthy();
    expect(screen.queryByText(/The origin fails/)).toBeNull();
    await user.click(screen.getByRole('link', { name: 'Theatre' }));
    expect(await screen.findByText(/^Who asks now is not known/)).toBeTruthy();
    expect(screen.queryByText(/Nobody ask/)).toBeNull();
  });

  test('is told to no page that nobody sees, and what was missed is told to whoever comes back', async () => {
    open('#/now');
    await screen.findByText('live');
    await screen.findByText(/Hit ratio of the last minute/);
    expect(admin.listening).toBe(1);
    act(() => {
      window.dispatchEvent(new Event('pagehide'));
    });
    expect(admin.listening).toBe(0);
    expect(screen.getByText('paused while the page is hidden')).toBeTruthy();

    for (let second = 0; second < 5; second += 1) pass({ purges: 1, evictions: 1 });
    await admin.fetch('/v1/purge', { method: 'POST', body: '{"tags":["post:1"],"mode":"soft"}' });
    act(() => {
      window.dispatchEvent(new Event('pageshow'));
    });
    await screen.findByText('live');
    await screen.findByText('tag post:1');
    // Each of the seconds in between.
    await screen.findByText(/5\sentries had to go/);
    expect(admin.asked.filter((line) => line.includes('/v1/history'))).toHaveLength(1);
  });

  test('says so where nothing is heard at all', async () => {
    admin.isUp = false;
    open('#/now');
    await heading(/Nothing is heard of the cache/);
    expect(screen.getByText(/The server does not answer/)).toBeTruthy();
  });

  test('of a server that does not tell seconds it shows the counters', async () => {
    admin.untold = ['history'];
    admin.samples = [];
    open('#/now');
    await screen.findByText(/does not tell what happens in each second/);
    expect(screen.getByText(/hit rate 90\s%/)).toBeTruthy();
  });
});

describe('a server that is started anew', () => {
  const goAndComeBack = async () => {
    admin.isUp = false;
    act(() => admin.hangUp());
    await screen.findByText('not live: trying again');
    act(() => admin.restart());
    await screen.findByText('live');
  };

  test('is asked for its routes again, and nothing is counted from what the one before had', async () => {
    const user = open('#/routes');
    await heading('6 routes');
    await screen.findByText('live');
    const before = screen.getByText(/^Counted since/).textContent;
    await user.click(screen.getByRole('button', { name: 'Count from now' }));
    await screen.findByText(/^Counted since you asked/);
    await goAndComeBack();
    await waitFor(() => expect(screen.queryByText(/^Counted since you asked/)).toBeNull());
    expect(screen.getByText(/^Counted since/).textContent).not.toBe(before);
    expect(screen.queryByText(/Not of now/)).toBeNull();
  });

  test('that could not be asked at first is asked when it is heard', async () => {
    admin.isUp = false;
    open('#/routes');
    await heading('The server does not answer');
    admin.isUp = true;
    await heading('6 routes');
  });

  test('says what it holds and what had to go itself', async () => {
    admin.lose('https://shop.example/posts/2', 'evicted');
    open('#/entries');
    const fills = within(await screen.findByRole('region', { name: 'What fills the memory' }));
    await fills.findByText(/: 35 evicted\./);
    const before = fills.getByText(/had to go for want of room\.$/).textContent;
    await goAndComeBack();
    await heading('0 entries');
    await waitFor(() => expect(fills.queryByText(/: 35 evicted\./)).toBeNull());
    await waitFor(() => expect(fills.getByText(/had to go for want of room\.$/).textContent).not.toBe(before));
  });
});

describe('a token', () => {
  test('is asked for, goes into a header, and into no address', async () => {
    admin.readToken = 'reads';
    admin.writeToken = 'writes';
    const user = open('#/routes');
    await heading('This console needs a token');
    expect(screen.queryByText(/takes 85/)).toBeNull();

    await user.type(screen.getByLabelText('Token'), 'guess');
    await user.click(screen.getByRole('button', { name: 'Show it' }));
    await screen.findByText(/That one did not do: this token does not do for that request/);
    // A server counts wrong ones, and bars who shows too many.
    const questions = admin.asked.length;
    await user.type(screen.getByLabelText('Token'), 'again');
    await user.click(screen.getByRole('button', { name: 'Show it' }));
    await waitFor(() => expect(admin.asked.slice(questions)).toEqual(['GET /v1/stats']));

    await user.clear(screen.getByLabelText('Token'));
    await user.type(screen.getByLabelText('Token'), 'reads');
    await user.click(screen.getByRole('button', { name: 'Show it' }));
    await heading(/\/search takes 85\s% of the origin’s time/);
    await screen.findByText('live');
    expect(admin.asked.join(' ')).not.toContain('reads');
    expect(location.href).not.toContain('reads');
    expect(document.cookie).toBe('');
    expect(localStorage.length + sessionStorage.length).toBe(0);

    await user.click(screen.getByRole('button', { name: 'Forget the token' }));
    expect(screen.queryByRole('button', { name: 'Forget the token' })).toBeNull();
  });

  test('for changes is asked for where one may only read, and one may go on reading', async () => {
    admin.writeToken = 'writes';
    const user = open('#/purge');
    await user.type(await screen.findByLabelText('Tag', { selector: 'textarea' }), 'front-page');
    await heading('Changes need the write token');
    await user.click(screen.getByRole('button', { name: 'Go on reading' }));
    expect(screen.getByText(/told to those who may purge/)).toBeTruthy();
  });
});

describe('a token for changes', () => {
  beforeEach(() => {
    admin.readToken = 'reads';
    admin.writeToken = 'writes';
  });

  const showReading = async (hash: string) => {
    const user = open(hash);
    await heading('This console needs a token');
    const field = screen.getByLabelText('Token', { selector: 'input' });
    expect(document.activeElement).toBe(field);
    await user.type(field, 'reads');
    await user.click(screen.getByRole('button', { name: 'Show it' }));
    return user;
  };

  test('is asked for without a word about one that nobody has shown for that, and has the focus', async () => {
    const user = await showReading('#/purge?kind=tag&name=post:1');
    await heading('Changes need the write token');
    const field = screen.getByLabelText('Token', { selector: 'input' });
    expect(document.activeElement).toBe(field);
    expect(screen.queryByText(/did not do/)).toBeNull();
    await user.type(field, 'reads{Enter}');
    await screen.findByText(/^That one did not do/);
  });

  test('takes the focus from nobody who is typing', async () => {
    const user = await showReading('#/purge');
    const tag = await screen.findByLabelText('Tag', { selector: 'textarea' });
    await user.type(tag, 'post:1');
    await heading('Changes need the write token');
    expect(document.activeElement).toBe(tag);
  });
});

describe('routes', () => {
  test('tell why /me is never a hit, and what would mend it', async () => {
    const user = open('#/routes');
    await heading(/\/search takes 85\s% of the origin’s time/);
    await user.click(screen.getByRole('link', { name: '/me' }));
    await heading('/me');
    expect(screen.getByText(/38\s% because the answer sets a cookie/)).toBeTruthy();
    expect(screen.getByText('set_cookie = "store-without"')).toBeTruthy();
    expect(location.hash).toContain('open=%2Fme');
    await user.click(screen.getByRole('link', { name: 'Close' }));
    expect(screen.queryByRole('heading', { name: '/me' })).toBeNull();
  });

  test('are ordered by the head that is pressed, and found by a part of their path', async () => {
    const user = open('#/routes');
    const names = () =>
      screen
        .getAllByRole('row')
        .slice(1)
        .map((row) => within(row).getByRole('link').textContent);
    await heading('6 routes');
    expect(names()[0]).toBe('/search');
    expect(screen.getByRole('row', { name: /^\/search 97\s% because nothing was stored for them 11/ })).toBeTruthy();
    await user.click(screen.getByRole('button', { name: /^Requests/ }));
    expect(names()[0]).toBe('/static/**');
    expect(screen.getByRole('columnheader', { name: /^Requests/ }).getAttribute('aria-sort')).toBe('descending');
    await user.type(screen.getByRole('searchbox', { name: 'Find' }), 'me');
    expect(names()).toEqual(['/me']);
    await heading('1 of 6 routes fits');
    await user.type(screen.getByRole('searchbox', { name: 'Find' }), '-nothing');
    await heading('0 of 6 routes fit');
    // It goes on by itself, and needs no word of when it was told.
    expect(screen.queryByText(/As of/)).toBeNull();
  });

  test('whose readers got errors say so, above and in their row', async () => {
    admin.routes = admin.routes.map((route) => (route.route === '/search' ? { ...route, readerErrors: 1096 } : route));
    const user = open('#/routes');
    await screen.findByText(/Readers got errors by the origin’s doing/);
    await user.click(screen.getByRole('link', { name: '/search', description: '/search' }));
    await screen.findByText(/^1,096 readers got an error that was the origin’s doing/);
    expect(screen.getByRole('row', { name: /^\/search 10\s% got an error 11/ })).toBeTruthy();
  });

  test('are counted from now on where one asks for that, to see whether a mend works', async () => {
    const user = open('#/routes');
    await heading('6 routes');
    await user.click(screen.getByRole('button', { name: 'Count from now' }));
    await screen.findByText(/^Counted since you asked, /);
    expect(screen.getByRole('row', { name: /^\/search 0 – 0/ })).toBeTruthy();
    await user.click(screen.getByRole('button', { name: 'All of it' }));
    expect(screen.getByRole('row', { name: /^\/search 97\s% because nothing was stored for them 11/ })).toBeTruthy();
  });

  test('tell for how long what has expired is fresh, and which setting overrules that', async () => {
    open('#/routes?open=%2Fsearch');
    await screen.findByText(/^What is stored of it now is fresh for/);
    expect(screen.getByText('ttl_override = "10m"')).toBeTruthy();
  });

  test('are walked through by arrow keys, and what is closed gives the focus back', async () => {
    const user = open('#/routes');
    await heading('6 routes');
    screen.getByRole('searchbox', { name: 'Find' }).focus();
    await user.tab();
    for (const name of ['Route', 'Requests']) {
      expect(document.activeElement?.textContent).toBe(name);
      await user.tab();
    }
    screen.getByRole('link', { name: '/search', description: '/search' }).focus();
    await user.keyboard('{ArrowDown}{Enter}');
    expect(document.activeElement).toBe(await heading('/me'));
    await user.keyboard('{Escape}');
    await waitFor(() => expect(document.activeElement?.textContent).toBe('/me'));
    expect(document.activeElement?.tagName).toBe('A');

    await user.keyboard('{End}{Enter}');
    await heading('/static/**');
    await user.click(screen.getByRole('link', { name: 'Close' }));
    await waitFor(() => expect(document.activeElement?.textContent).toBe('/static/**'));
  });

  test('closed, the sentence above the list has the focus again if that has opened it', async () => {
    const user = open('#/routes');
    const sentence = within(await screen.findByRole('region', { name: 'The origin’s time' })).getByRole('link');
    sentence.focus();
    await user.keyboard('{Enter}');
    await heading('/search');
    await user.keyboard('{Escape}');
    await waitFor(() => expect(document.activeElement).toBe(sentence));
  });

  test('tell of a route which parameter multiplies its entries', async () => {
    admin.copy('https://shop.example/posts/1', 20);
    open('#/routes?open=%2Fposts%2F%7Bid%7D');
    const copies = within(await screen.findByRole('region', { name: 'Stored more than once' }));
    expect(copies.getByText(/they differ only in/)).toBeTruthy();
  });

  test('ten thousand are a few elements', async () => {
    const one = admin.routes[0];
    if (one === undefined) throw new Error('there is a route');
    // Of a file with as many, and what fits none.
    admin.routes = [...Array.from({ length: 10_000 }, (_, at) => ({ ...one, route: `/r/${at}` })), { ...one, route: 'otherwise' }];
    open('#/routes?open=otherwise');
    await heading('10,001 routes');
    expect(screen.getByText(/As of \d+:\d+:\d+/)).toBeTruthy();
    await heading('otherwise');
    expect(screen.getAllByRole('row').length).toBeLessThan(60);
    expect(screen.getByRole('grid', { name: 'Routes' }).getAttribute('aria-rowcount')).toBe('10002');
  });

  test('a server that does not tell them says so, and one that is gone can be asked again', async () => {
    admin.untold = ['routes'];
    open('#/routes');
    await screen.findByText(/This server does not tell its routes/);
  });
});

describe('explain', () => {
  test('shows the way to the verdict, and what a change changes', async () => {
    const user = open('#/explain');
    await user.type(screen.getByRole('textbox', { name: /A URL, or a line of curl/ }), 'https://shop.example/posts/1?utm_source=mail');
    await user.click(screen.getByRole('button', { name: 'Explain' }));
    await screen.findByText('A fresh copy is stored.');
    expect(screen.getByText(/left out: tracking parameter/)).toBeTruthy();

    await user.click(screen.getByRole('button', { name: 'Add a field' }));
    await user.type(screen.getByLabelText('Field 1, name'), 'cookie');
    await user.type(screen.getByLabelText('Field 1, value'), 'a=1');
    await heading('What your change changes');
    const changes = within(screen.getByRole('status', { name: 'What your change changes' }));
    expect((await changes.findByText('Verdict')).parentElement?.textContent).toContain('hit → pass');

    await user.click(screen.getByRole('button', { name: 'Back to what was pasted' }));
    await waitFor(() => expect(screen.queryByRole('heading', { name: 'What your change changes' })).toBeNull());
    // One can go back to it, and what was added stands in no address.
    expect(location.hash).toBe('#/explain?url=https%3A%2F%2Fshop.example%2Fposts%2F1%3Futm_source%3Dmail');
  });

  test('does not take for a change what has happened meanwhile', async () => {
    const user = open('#/explain?url=https%3A%2F%2Fshop.example%2Fposts%2F1');
    await screen.findByText('A fresh copy is stored.');
    // Somebody else has it purged.
    admin.entries = admin.entries.filter(({ key }) => key !== 'https://shop.example/posts/1');
    await user.click(screen.getByRole('button', { name: 'Add a field' }));
    await user.type(screen.getByLabelText('Field 1, name'), 'accept');
    await user.type(screen.getByLabelText('Field 1, value'), 'text/html');
    await heading('What your change changes');
    await screen.findByText('Nothing: the cache does the same.');
  });

  test('names the cookies that make a request personal, and the line that ignores them', async () => {
    const user = open('#/explain');
    await user.type(
      screen.getByRole('textbox', { name: /A URL, or a line of curl/ }),
      "curl https://shop.example/me -H 'cookie: sid=1; theme=dark'{Enter}",
    );
    await screen.findByText(/The cookies sid, theme make this look like one person’s request/);
    expect(screen.getByText('ignore_cookies = ["theme"]')).toBeTruthy();
    expect(screen.getByText(/may tell who somebody is/)).toBeTruthy();
    expect(screen.queryByText('ignore_cookies = ["analytics"]')).toBeNull();
  });

  test('offers something that is stored to begin with', async () => {
    const user = open('#/explain');
    const examples = within(await screen.findByRole('region', { name: /^For instance/ }));
    const [first] = examples.getAllByRole('link');
    if (first === undefined) throw new Error('something is stored');
    await user.click(first);
    await heading('What would become of it');
    expect(screen.getByRole<HTMLTextAreaElement>('textbox', { name: /A URL/ }).value).toBe(first.textContent);
    expect(screen.queryByRole('region', { name: /^For instance/ })).toBeNull();
  });

  test('takes a path alone for one of the gateway’s own address, and says so', async () => {
    const user = open('#/explain');
    await screen.findByRole('region', { name: /^For instance/ });
    await user.type(screen.getByRole('textbox', { name: /A URL/ }), '/posts/1');
    await screen.findByText(/^Of a path alone it is http:\/\/127\.0\.0\.1:8080\/posts\/1,/);
    await user.keyboard('{Enter}');
    await heading('What would become of it');
    expect(admin.posted.at(-1)).toMatchObject({ url: 'http://127.0.0.1:8080/posts/1' });
  });

  test('by Enter, and not of a path alone where no address is known', async () => {
    admin.offersStage = false;
    const user = open('#/explain');
    const field = screen.getByRole('textbox', { name: /A URL, or a line of curl/ });
    await user.type(field, '/posts/1{Enter}');
    await screen.findByText(/That is a path alone.* as in https:\/\/shop\.example\/posts\/1\./);
    await user.clear(field);
    await user.type(field, 'https://shop.example/posts/1{Enter}');
    await screen.findByText('A fresh copy is stored.');
  });

  test('tells why the last answer was not kept, and what would mend that', async () => {
    open('#/explain?url=https%3A%2F%2Fshop.example%2Fme');
    await screen.findByText(/^Miss at .*, because the answer sets a cookie/);
    expect(screen.getByText('set_cookie = "store-without"')).toBeTruthy();
  });

  test('shows the outcome by another file beside todays, and marks what differs', async () => {
    const user = open('#/explain');
    await user.type(
      screen.getByRole('textbox', { name: /A URL, or a line of curl/ }),
      "curl https://shop.example/posts/1 -H 'cookie: a=1'",
    );
    await user.click(screen.getByRole('button', { name: 'Explain' }));
    await screen.findByText(/so its answer is its reader’s alone/);
    const file = new File(['[[route]]\nttl = "1h"\ncookies_matter = false\n'], 'new.toml');
    await user.upload(screen.getByLabelText('Choose a file'), file);

    const table = within(await screen.findByRole('table'));
    const lineOf = (name: RegExp) => table.getByRole('rowheader', { name }).parentElement?.textContent ?? '';
    expect(lineOf(/^Verdict, differs$/)).toContain('passhit');
    expect(lineOf(/Rule ttl/)).toContain('5m1h');
    expect(lineOf(/Rule query_deny/)).toContain('["tracking"]not said');
    expect(lineOf(/^Route$/)).toContain('the same');
    expect(screen.getByText(/lines differ\.$/)).toBeTruthy();
    await user.click(screen.getByText('All of it by new.toml'));
    expect(screen.getByText('new.toml:3')).toBeTruthy();
    expect(admin.posted.at(-1)?.['policy']).toContain('cookies_matter');

    await user.click(screen.getByRole('button', { name: 'Today’s rules only' }));
    expect(screen.queryByRole('table')).toBeNull();
  });

  test('what was typed and changed stays for whoever comes back to it, in the page alone', async () => {
    const user = open('#/explain');
    const field = () => screen.getByRole<HTMLTextAreaElement>('textbox', { name: /A URL, or a line of curl/ });
    const line = "curl https://shop.example/posts/1 -H 'cookie: a=1'";
    await user.type(field(), line);
    await user.click(screen.getByRole('link', { name: 'Routes' }));
    await screen.findByRole('grid', { name: 'Routes' });
    await user.click(screen.getByRole('link', { name: 'Explain' }));
    expect(field().value).toBe(line);
    await user.click(screen.getByRole('button', { name: 'Explain' }));
    await screen.findByText(/so its answer is its reader’s alone/);
    await user.clear(screen.getByLabelText('Field 1, value'));
    await user.type(screen.getByLabelText('Field 1, value'), 'b=2');
    await user.type(screen.getByLabelText('Its text'), 'ttl = "1h"');
    await user.click(screen.getByRole('link', { name: 'Now' }));
    await heading(/All is well/);
    await user.click(screen.getByRole('link', { name: 'Explain' }));
    expect(screen.getByLabelText<HTMLInputElement>('Field 1, value').value).toBe('b=2');
    expect(field().value).toBe(line);
    expect(screen.getByLabelText<HTMLTextAreaElement>('Its text').value).toBe('ttl = "1h"');
    expect(JSON.stringify([location.href, localStorage, sessionStorage])).not.toContain('a=1');

    // What a link asks about is asked about.
    await user.click(screen.getByRole('link', { name: 'Now' }));
    act(() => {
      location.hash = '#/explain?url=https%3A%2F%2Fshop.example%2Fme';
    });
    await waitFor(() => expect(field().value).toBe('https://shop.example/me'));
  });

  test('rules that do the same are said to', async () => {
    const user = open('#/explain?url=https%3A%2F%2Fshop.example%2Fposts%2F1');
    await screen.findByText('A fresh copy is stored.');
    await user.click(screen.getByLabelText('Its text'));
    await user.paste('ttl = "5m"\nquery_deny = ["tracking"]\n');
    await screen.findByText('They do the same with this request.');
    expect(screen.getByRole('heading', { name: 'Today’s rules, and the other rules' })).toBeTruthy();
  });

  test('a mistake in the other file is told with its line, as the server has it', async () => {
    const user = open('#/explain?url=https%3A%2F%2Fshop.example%2Fposts%2F1');
    await screen.findByText('A fresh copy is stored.');
    await user.click(screen.getByLabelText('Its text'));
    await user.paste('[[route]]\nttll = "5m"\n');
    const alert = await screen.findByRole('alert');
    expect(within(alert).getByRole('heading', { name: 'These rules are not understood' })).toBeTruthy();
    expect(alert.textContent).toContain('policy:2:1: unknown key "ttll"\n  2 | ttll = "5m"\n    | ^');
    // What is known without the file stays.
    expect(screen.getByText('A fresh copy is stored.')).toBeTruthy();
  });

  test('a cache without a configuration says so', async () => {
    admin.hasConfiguration = false;
    const user = open('#/explain?url=https%3A%2F%2Fshop.example%2Fposts%2F1');
    await user.click(await screen.findByLabelText('Its text'));
    await user.paste('ttl = "5m"');
    await heading('There is no file to compare with here');
    expect(screen.getByText(/this cache has no configuration/)).toBeTruthy();
  });

  test('a file that is too large stays in the page', async () => {
    const user = open('#/explain?url=https%3A%2F%2Fshop.example%2Fposts%2F1');
    await user.upload(await screen.findByLabelText('Choose a file'), new File(['#'.repeat(600_000)], 'huge.toml'));
    await screen.findByText(/500 KiB at most/);
    expect(admin.posted.every((body) => body['policy'] === undefined)).toBe(true);
  });

  test('says why the last answer was not kept where nothing is stored', async () => {
    open('#/explain?url=https%3A%2F%2Fshop.example%2Fme');
    await screen.findByText(/^Nothing is stored under this key\. The last answer was not kept, because the answer sets a cookie/);
  });

  test('does not ask about what it cannot read', async () => {
    const user = open('#/explain');
    await user.type(screen.getByRole('textbox', { name: /A URL/ }), 'hello there');
    await user.click(screen.getByRole('button', { name: 'Explain' }));
    expect(screen.getByText(/neither a URL, nor a line that begins with curl/)).toBeTruthy();
    expect(admin.posted).toEqual([]);
  });
});

describe('a request that was answered', () => {
  test('is found by what its answer has in Larder-Request, and can be sent on as an address', async () => {
    const user = open('#/explain');
    await user.type(screen.getByRole('textbox', { name: /A URL, or a line of curl/ }), 'Larder-Request: 0123456789ABCDEF0123456789abcdef{Enter}');
    await heading('What became of it');
    await screen.findByText('The answer sets a cookie.');
    expect(screen.getByText(/status 200, from the origin/)).toBeTruthy();
    expect(location.hash).toBe('#/explain?request=0123456789abcdef0123456789abcdef');
    await user.click(screen.getByRole('link', { name: 'Explain it now' }));
    await heading('What would become of it');
    await user.click(screen.getByRole('link', { name: 'That request' }));
    await heading('What became of it');
  });

  test('may be too long ago', async () => {
    open(`#/explain?request=${'f'.repeat(32)}`);
    await screen.findByText(/it may be too long ago/);
  });
});

describe('entries', () => {
  test('of a large cache are asked for again until all of it has been looked at', async () => {
    admin.glances = 3;
    open('#/entries?order=bytes');
    await heading('120 entries so far');
    expect(screen.getByText('looking at all of them…')).toBeTruthy();
    await heading('240 entries');
    expect(screen.getByText(/^ordered at /)).toBeTruthy();
  });

  test('say that a key is not there only once all has been looked at', async () => {
    const last = admin.entries.at(-1);
    if (last === undefined) throw new Error('nothing is stored');
    // The list and the question for this very key.
    admin.glances = 2;
    open(`#/entries?part=${encodeURIComponent(last.key)}`);
    await screen.findByRole('grid', { name: 'Entries' });
    await heading('1 entry fits');
  });

  test('puts the one first that was named exactly, wherever the order would have it', async () => {
    const key = 'https://shop.example/posts/1';
    // Large ones come first, and many begin as this one does.
    open(`#/entries?part=${encodeURIComponent(key)}&order=bytes`);
    await heading(/entries fit$/);
    await waitFor(() => expect(within(screen.getAllByRole('row')[1] ?? document.body).getByRole('link', { name: key })).toBeTruthy());
    expect(screen.getAllByRole('link', { name: key })).toHaveLength(1);
  });

  test('tell what fills the memory, and each can be looked into and purged', async () => {
    const user = open('#/entries?tag=post%3A1');
    await heading('1 entry fits');
    const fills = within(screen.getByRole('region', { name: 'What fills the memory' }));
    const ofPosts = admin.entries.filter(({ route }) => route === '/posts/{id}').reduce((sum, { bytes }) => sum + bytes, 0);
    const share = Math.round((ofPosts / (admin.samples.at(-1)?.bytes ?? 1)) * 100);
    expect(await fills.findByText(new RegExp(`^${share}\\s%, 160 entries`))).toBeTruthy();
    // Five are shown, so five are asked for.
    expect(admin.asked.filter((line) => line.includes('/v1/routes')).every((line) => line.includes('order=bytes&limit=5'))).toBe(true);

    await user.click(screen.getByRole('link', { name: 'https://shop.example/posts/1' }));
    await heading('https://shop.example/posts/1');
    expect(await screen.findByText(/<title>Post 1<\/title>/)).toBeTruthy();
    expect(screen.getByText('(hidden)')).toBeTruthy();

    await user.click(screen.getByRole('button', { name: 'Mark it stale' }));
    await screen.findByText(/Marked stale: 1 entry/);
    expect(admin.posted.filter((body) => body['dry_run'] !== true).at(-1)).toEqual({ keys: ['https://shop.example/posts/1'], cache: 'larder', mode: 'soft' });
    await screen.findAllByText('purged: stale');
  });

  test('of a very long key show its beginning and its end, and the whole on demand', async () => {
    const key = `https://shop.example/posts/1?${'x'.repeat(6000)}&end=1`;
    admin.entries = admin.entries.map((entry, at) => (at === 1 ? { ...entry, key } : entry));
    const user = open(`#/entries?key=${encodeURIComponent(key)}`);
    const title = await heading(/^https:\/\/shop\.example\/posts\/1\?x+…x+&end=1 All 6,035 characters$/);
    expect(title.textContent.length).toBeLessThan(300);
    await user.click(within(title).getByRole('button', { name: 'All 6,035 characters' }));
    expect(title.textContent).toContain(key);
    await user.click(within(title).getByRole('button', { name: 'Less of it' }));
    expect(title.textContent).not.toContain(key);
  });

  test.each([
    ['text;coding="gzip";decoded=?1', 'Stored in gzip; this is what it says.', true],
    ['binary', 'It is binary (text/html): there is no text to show.', false],
    ['binary;coding="dcb";decoded=?0', 'It lies here in the coding dcb, which is not undone here: there is no text to show.', false],
  ])('say of a body that is %s what it is', async (is, says, isShown) => {
    admin.bodiesAre = is;
    open(`#/entries?key=${encodeURIComponent('https://shop.example/posts/1')}`);
    await screen.findByText(says);
    expect(screen.queryByText(/<title>Post 1<\/title>/) !== null).toBe(isShown);
  });

  test('closed, the row of an entry has the focus, also where an address has opened it', async () => {
    const key = 'https://shop.example/posts/34';
    const user = open(`#/entries?order=bytes&key=${encodeURIComponent(key)}`);
    await heading(key);
    await screen.findByRole('grid', { name: 'Entries' });
    await user.keyboard('{Escape}');
    await waitFor(() => expect(document.activeElement).toBe(screen.getByRole('link', { name: key })));
    await user.keyboard('{ArrowDown}{Enter}');
    expect(document.activeElement).toBe(await screen.findByRole('heading', { level: 2, name: /page=159$/ }));
  });

  test('are found by any part of their keys', async () => {
    const user = open('#/entries');
    await heading('240 entries');
    await user.type(screen.getByLabelText('Key contains'), 'q=honey');
    await heading('10 entries fit');
    expect(location.hash).toContain('part=q%3Dhoney');
    await user.type(screen.getByLabelText('Key contains'), '?');
    await screen.findByText('Nothing stored fits that.');
  });

  test('say how full the memory is, and what had to go', async () => {
    admin.samples = Array.from({ length: 3600 }, (_, at) => ({ ...secondOf(1_764_500_000 + at), evictions: at < 12 ? 100 : 0 }));
    admin.lose('https://shop.example/posts/2', 'evicted');
    open('#/entries');
    const fills = within(await screen.findByRole('region', { name: 'What fills the memory' }));
    expect((await fills.findByText(/163\sMiB of 256\sMiB, 64\s%/)).textContent).toContain('18,342 entries');
    expect(await fills.findByRole('link', { name: '1,200 entries' })).toBeTruthy();
    expect(fills.getByText(/In the last hour/).textContent).toContain('had to go for want of room');
    await fills.findByText(/: 35 evicted\./);
  });

  test('that are one page but for a parameter are summed up, with what would keep one', async () => {
    admin.copy('https://shop.example/posts/1', 1204);
    const user = open('#/entries');
    const copies = within(await screen.findByRole('region', { name: 'Stored more than once' }));
    expect(copies.getByText(/The same page 1,204 times/)).toBeTruthy();
    expect(copies.getByText('query_deny = ["tracking"]')).toBeTruthy();
    await user.click(copies.getByRole('link', { name: 'https://shop.example/posts/1' }));
    await heading(/entries fit$/);
    expect(location.hash).toContain('part=https%3A%2F%2Fshop.example%2Fposts%2F1');
  });

  test('more come as one scrolls, and all are counted from the start', async () => {
    open('#/entries?order=bytes');
    await heading('240 entries');
    expect(screen.getAllByRole('row').length).toBeLessThan(60);
    expect(admin.asked.filter((line) => line.includes('/v1/entries?')).length).toBe(1);
  });
});

describe('what went', () => {
  test('is told with why and by which purge, from the receipt on', async () => {
    const user = open('#/purge');
    await screen.findByText('live');
    await user.type(screen.getByLabelText('Tag', { selector: 'textarea' }), 'post:1');
    await user.click(screen.getByRole('radio', { name: 'Hard: gone' }));
    await user.click(await screen.findByRole('button', { name: 'Purge 1 entry' }));
    await user.click(screen.getByRole('button', { name: 'Yes: purge 1 entry' }));
    act(() => admin.lose('https://shop.example/posts/2', 'evicted'));
    await user.click(await screen.findByRole('link', { name: 'See what went by it' }));

    await heading('What went lately');
    await screen.findByText('1 key: 1 purged.');
    const row = within(screen.getAllByRole('row')[1] ?? document.body);
    expect(row.getByText('https://shop.example/posts/1')).toBeTruthy();
    expect(row.getByRole('link', { name: 'tag post:1' })).toBeTruthy();
    expect(location.hash).toContain('by=tag+post%3A1');

    await user.click(screen.getByRole('link', { name: 'Whatever it went by' }));
    await screen.findByText('36 keys: 35 evicted, 1 purged.');
    await user.selectOptions(screen.getByRole('combobox', { name: 'Why' }), 'purged');
    await screen.findByText('1 key: 1 purged.');
  });

  test('explains a miss: from the tree to the key, and on to all keys', async () => {
    admin.lose('https://shop.example/posts/1', 'evicted');
    const user = open('#/explain?url=https%3A%2F%2Fshop.example%2Fposts%2F1');
    await screen.findByText('It was stored, and was evicted 0 s ago.');
    await user.click(screen.getByRole('link', { name: 'What went lately' }));
    await screen.findByText(/the last time that it went/);
    await screen.findByText('1 key: 1 evicted.');
    expect(admin.asked.at(-1)).toContain('key=https%3A%2F%2Fshop.example%2Fposts%2F1');
    await user.click(screen.getByRole('link', { name: 'All keys' }));
    await user.type(await screen.findByRole('searchbox', { name: 'Begins with' }), 'https://shop.example/posts/19');
    await waitFor(() => expect(admin.asked.at(-1)).toContain('prefix='));
    await screen.findByText('8 keys: 8 evicted.');
  });

  test('is said of an opened entry that is not there any more', async () => {
    admin.lose('https://shop.example/posts/1', 'expired');
    const user = open('#/entries?key=https%3A%2F%2Fshop.example%2Fposts%2F1');
    await user.click(await screen.findByRole('link', { name: 'See whether it went lately, and why' }));
    await screen.findByText('expired: too old for all uses');
  });

  test('nothing is said to be nothing, and what was too fast is counted', async () => {
    admin.goneLeftOut = 12;
    open('#/entries?show=gone');
    await screen.findByText(/^Nothing went lately/);
    expect(screen.getByText('12 keys more went too fast to be written down.')).toBeTruthy();
    expect(screen.getByRole('link', { name: 'What went lately' }).getAttribute('aria-current')).toBe('page');
  });

  test('a soft purge takes nothing out, and the receipt says so', async () => {
    const user = open('#/purge');
    await user.type(await screen.findByLabelText('Tag', { selector: 'textarea' }), 'post:1');
    await user.click(await screen.findByRole('button', { name: 'Purge 1 entry' }));
    await screen.findByText(/^Nothing of it went/);
    expect(screen.queryByRole('link', { name: 'See what went by it' })).toBeNull();
    expect(admin.gone).toEqual([]);
  });

  test('a server that does not tell it says so', async () => {
    admin.untold = ['gone'];
    open('#/entries?show=gone');
    await screen.findByText(/This server does not tell what went lately/);
  });
});

describe('a purge', () => {
  test('of a server that remembers none tells how far each tier was when it answered', async () => {
    admin.remembersPurges = false;
    const user = open('#/purge');
    await screen.findByText('live');
    await user.type(screen.getByLabelText('Tag', { selector: 'textarea' }), 'archive');
    await user.click(await screen.findByRole('button', { name: 'Purge 120 entries' }));
    const receipt = within(await screen.findByRole('status', { name: /^Receipt/ }));
    expect(receipt.getByText(/waits to be told/)).toBeTruthy();
    expect(receipt.getByText(/^Purged \(\d+ entries in memory\) here; the tiers outside are on their way\.$/)).toBeTruthy();
  });

  test('says beforehand what it touches, and its receipt fills tier by tier', async () => {
    const user = open('#/purge');
    await screen.findByText('live');
    await user.type(screen.getByLabelText('Tag', { selector: 'textarea' }), 'front-page');
    await screen.findByText(/It touches 120 entries, 5\.2\sMiB\./);
    expect(admin.posted.every((body) => body['dry_run'] === true)).toBe(true);

    await user.click(screen.getByRole('button', { name: 'Purge 120 entries' }));
    const receipt = within(await screen.findByRole('status', { name: /^Receipt/ }));
    expect(receipt.getByText(/^Purged \(\d+ entries in memory\) here; the tiers outside are on their way\.$/)).toBeTruthy();
    expect(admin.posted.filter((body) => body['dry_run'] !== true).at(-1)).toEqual({ tags: ['front-page'], mode: 'soft' });
    act(() => admin.settle());
    await receipt.findByText(/^Purged \(\d+ entries in memory\), everywhere\.$/);
  });

  test('of one cache of several names it', async () => {
    admin.otherCache = 'pictures';
    const user = open('#/purge');
    await user.click(await screen.findByRole('radio', { name: 'pictures' }));
    await user.type(screen.getByLabelText('Tag', { selector: 'textarea' }), 'front-page');
    await screen.findByText(/It touches/);
    await user.click(await screen.findByRole('button', { name: /^Purge \d+ entries$/ }));
    await screen.findByRole('heading', { name: /^Receipt/ });
    const [tried, made] = [true, false].map((isTried) => admin.posted.filter((body) => (body['dry_run'] === true) === isTried).at(-1));
    expect(tried).toEqual({ tags: ['front-page'], cache: 'pictures', mode: 'soft', dry_run: true });
    expect(made).toEqual({ tags: ['front-page'], cache: 'pictures', mode: 'soft' });
  });

  test('of several URLs that are pasted is of each of them', async () => {
    const user = open('#/purge?kind=url');
    await user.click(screen.getByLabelText('URL, or key'));
    await user.paste('https://shop.example/posts/1\nhttps://shop.example/posts/2\n');
    await user.click(await screen.findByRole('button', { name: 'Purge 2 entries' }));
    await screen.findByRole('status', { name: /^Receipt/ });
    expect(admin.posted.at(-1)).toMatchObject({ keys: ['https://shop.example/posts/1', 'https://shop.example/posts/2'] });
  });

  test('of a host without the port that its keys have says so', async () => {
    admin.entries = admin.entries.map((entry) => ({ ...entry, key: entry.key.replace('https://shop.example', 'http://127.0.0.1:19080') }));
    const user = open('#/purge?kind=host');
    await user.type(screen.getByLabelText('Host', { selector: 'textarea' }), '127.0.0.1');
    await screen.findByText(/^It touches nothing.* Keys are stored for 127\.0\.0\.1:19080: the port belongs to the name\./);
    await user.type(screen.getByLabelText('Host', { selector: 'textarea' }), ':19080');
    await screen.findByText(/^It touches 240 entries/);
    expect(screen.queryByText(/the port belongs/)).toBeNull();
  });

  test('of everything, or for good, takes a second press', async () => {
    const user = open('#/purge');
    await user.click(screen.getByRole('radio', { name: 'Everything' }));
    await screen.findByText(/All of it: 240 entries/);
    await user.click(screen.getByRole('button', { name: 'Purge 240 entries' }));
    expect(admin.posted.some((body) => body['dry_run'] !== true)).toBe(false);
    await user.click(screen.getByRole('button', { name: 'No' }));
    await user.click(screen.getByRole('button', { name: 'Purge 240 entries' }));
    await user.click(screen.getByRole('button', { name: 'Yes: purge 240 entries' }));
    await screen.findByRole('status', { name: /^Receipt/ });
    expect(admin.posted.filter((body) => body['dry_run'] !== true).at(-1)).toEqual({ all: true, mode: 'soft' });
  });
});

describe('the theatre', () => {
  const part = async (name: string) => within(await screen.findByRole('region', { name }));

  test('says in words what it plays', async () => {
    open('#/theatre');
    await screen.findByText(/requests in the last second, hit ratio/);
    pass({ miss: 77 });
    await screen.findByText('77');
    pass({ hit: 0, stale: 0, miss: 0, collapsed: 0, pass: 0 });
    await screen.findByText(/^Nobody asked in the last second; what is still on its way came before\./);
  });

  test('has single requests go on where the server tells them, as long as one watches, and says how many of all that are', async () => {
    admin.tellsRequests = true;
    const user = open('#/theatre');
    await screen.findByText(/Since you came 0 of 0 were drawn, one by one\./);
    pass();
    expect(admin.watching).toBe(1);
    act(() =>
      admin.answer(
        { url: 'http://shop.example/me', verdict: 'miss', reason: 'set-cookie', originSeconds: 0.2 },
        { url: 'http://shop.example/posts/1', verdict: 'hit', reason: 'hit' },
      ),
    );
    const listed = within(await screen.findByRole('region', { name: 'The last that went on' }));
    const line = (await listed.findByRole('link', { name: '/me' })).closest('li');
    expect(line?.textContent).toMatch(/Miss, because the answer sets a cookie .*200\sms of it at the origin/);
    await listed.findByRole('link', { name: '/posts/1' });
    pass();
    await screen.findByText(/Since you came 2 of [\d,]+ were drawn, one by one\./);
    // More than there are lanes: the others go by, or wait.
    act(() => admin.answer(...Array.from({ length: 40 }, (_, at) => ({ url: `http://shop.example/posts/${at}`, verdict: 'hit', reason: 'hit' }))));
    await screen.findByText(/Since you came 10 of/);

    await user.click(screen.getByRole('radio', { name: 'stopped' }));
    await user.click(screen.getByRole('button', { name: 'Show the next ones' }));
    await screen.findByText(/Since you came 20 of/);
    await user.click(screen.getByRole('link', { name: 'Now' }));
    await waitFor(() => expect(admin.watching).toBe(0));
  });

  test('sends a crowd, says that it is on its way, and what it cost', async () => {
    admin.holdsCrowds = true;
    const user = open('#/theatre');
    const crowd = await part('Send a crowd');
    await user.click(crowd.getByRole('button', { name: 'Send 200 requests' }));
    await crowd.findByText('200 requests for /posts/1 on the way…');
    expect(crowd.getByRole('button', { name: 'Send 200 requests' }).getAttribute('aria-disabled')).toBe('true');
    act(() => admin.letGo());
    const said = await crowd.findByText(/200 requests, 1 call of the origin\./);
    expect(said.getAttribute('role')).toBe('status');
    expect(said.textContent).toMatch(/199 waited for another’s answer and 1 asked the origin\. The last was answered after 2\.0\ss\./);
    expect(admin.posted.filter((body) => body['dry_run'] !== true).at(-1)).toEqual({ path: '/posts/1', requests: 200 });

    await user.clear(crowd.getByLabelText('Requests'));
    await user.type(crowd.getByLabelText('Requests'), '1000');
    await user.type(crowd.getByLabelText('Host, if another'), 'shop.example');
    await user.click(crowd.getByRole('button', { name: 'Send 1,000 requests' }));
    await crowd.findByText(/1,000 requests, no call of the origin\. 1,000 had it from the cache\./);
    expect(admin.posted.filter((body) => body['dry_run'] !== true).at(-1)).toEqual({ path: '/posts/1', requests: 1000, host: 'shop.example' });
  });

  test('stops a crowd, and sends another one then', async () => {
    admin.holdsCrowds = true;
    const user = open('#/theatre');
    const crowd = await part('Send a crowd');
    await user.click(crowd.getByRole('button', { name: 'Send 200 requests' }));
    await user.click(await crowd.findByRole('button', { name: 'Stop it' }));
    await crowd.findByText(/Stopped: those without an answer were given up\./);
    admin.letGo();
    await user.click(crowd.getByRole('button', { name: 'Send 200 requests' }));
    await crowd.findByText(/200 requests, 1 call of the origin/);
  });

  test('sends no crowd that makes no sense, and tells why one was refused', async () => {
    const user = open('#/theatre');
    const crowd = await part('Send a crowd');
    for (const [label, typed, why] of [
      ['Requests', '1001', 'From 1 to 1,000.'],
      ['Path', 'posts', /with one slash at its beginning/],
      ['Host, if another', 'a/b', /The host alone/],
    ] as const) {
      const field = crowd.getByLabelText<HTMLInputElement>(label);
      const before = field.value;
      await user.clear(field);
      await user.type(field, `${typed}{Enter}`);
      await crowd.findByText(why);
      expect(field.getAttribute('aria-invalid')).toBe('true');
      await user.clear(field);
      if (before !== '') await user.type(field, before);
    }
    expect(admin.posted).toEqual([]);

    admin.holdsCrowds = true;
    const other = admin.fetch('/v1/stage/crowd', { method: 'POST', body: '{"path":"/a"}' });
    await user.click(crowd.getByRole('button', { name: 'Send 200 requests' }));
    await crowd.findByText('The server refused it: wait until it is over, then ask again.');
    admin.letGo();
    await act(() => other);
  });

  test('purges a tag, and has its receipt in a line', async () => {
    const user = open('#/theatre');
    const purge = await part('Purge a tag');
    await purge.findByText(/Stored now, for instance: front-page, archive/);
    await user.click(purge.getByRole('button', { name: 'Purge it' }));
    await purge.findByText('Which one?');
    await user.type(purge.getByLabelText('Tag'), 'front-page');
    await user.click(purge.getByRole('button', { name: 'Purge front-page' }));
    await purge.findByText(/front-page is stale here; the tiers outside are on their way\./);
    expect(admin.posted).toEqual([{ tags: ['front-page'], mode: 'soft' }]);
    await user.click(purge.getByRole('link', { name: 'The whole receipt' }));
    await screen.findByRole('heading', { name: 'What was purged' });
  });

  test('purges nothing for good before it was asked twice', async () => {
    const user = open('#/theatre');
    const purge = await part('Purge a tag');
    await user.type(purge.getByLabelText('Tag'), 'front-page');
    await user.click(purge.getByRole('radio', { name: 'Hard: gone' }));
    await user.click(purge.getByRole('button', { name: 'Purge front-page' }));
    await purge.findByText('This cannot be taken back.');
    expect(admin.posted).toEqual([]);
    await user.click(purge.getByRole('button', { name: 'Yes: purge front-page' }));
    await purge.findByText(/front-page is gone here/);
    expect(admin.posted).toEqual([{ tags: ['front-page'], mode: 'hard' }]);
  });

  test('cuts the shared tier off, says so, and mends it', async () => {
    const user = open('#/theatre');
    const shared = await part('Break the shared tier');
    await user.click(shared.getByRole('button', { name: 'Cut it off' }));
    await shared.findByText(/Out of reach: .* “Mend it” takes that back\./);
    expect(admin.isCutOff).toBe(true);
    await user.click(shared.getByRole('button', { name: 'Mend it' }));
    await shared.findByText(/In reach again/);
    expect(admin.isCutOff).toBe(false);
  });

  test('slows the origin, says so, and gives it its time back', async () => {
    const user = open('#/theatre');
    const origin = await part('Slow the origin');
    expect(origin.getByText('The backend waits 5 s for it, then gives up.')).toBeTruthy();
    await user.click(origin.getByRole('radio', { name: /8\ss/ }));
    await origin.findByText(/The origin takes 8\ss for each answer, instead of 2\ss\./);
    expect(admin.originMs).toBe(8000);
    await user.click(origin.getByRole('radio', { name: /2\ss, as usual/ }));
    await origin.findByText('As usual again.');
    expect(admin.originMs).toBe(2000);
  });

  test('of a server that offers no acts says so, and still purges', async () => {
    admin.offersStage = false;
    open('#/theatre');
    await screen.findByText(/This server sends no crowds\./);
    expect(screen.queryByRole('region', { name: 'Send a crowd' })).toBeNull();
    expect(await part('Purge a tag')).toBeTruthy();
  });

  test('asks for the token that changes need', async () => {
    admin.writeToken = 'writes';
    const user = open('#/theatre');
    const crowd = await part('Send a crowd');
    await user.click(crowd.getByRole('button', { name: 'Send 200 requests' }));
    await heading('Changes need the write token');
    expect(crowd.getByText(/It takes the write token/)).toBeTruthy();
    await user.type(screen.getByLabelText('Token'), 'writes');
    await user.click(screen.getByRole('button', { name: 'Show it' }));
    const again = await part('Send a crowd');
    await user.click(again.getByRole('button', { name: 'Send 200 requests' }));
    await again.findByText(/200 requests, 1 call of the origin/);
  });
});
