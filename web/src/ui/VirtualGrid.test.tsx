// A grid of rows as the keyboard walks through it: one stop for Tab, and arrow keys from there.
import { render, screen } from '@testing-library/react';
import { userEvent } from '@testing-library/user-event';
import { expect, test } from 'vitest';
import { VirtualGrid } from './VirtualGrid';

const names = (count: number) => Array.from({ length: count }, (_, at) => `row ${at}`);

function Grid({ keys, open = null }: { readonly keys: readonly string[]; readonly open?: string | null }) {
  return (
    <VirtualGrid
      label="Rows"
      className=""
      heads={<div role="columnheader">Name</div>}
      keys={keys}
      rowPx={40}
      cardPx={80}
      open={open}
      renderRow={({ index, tabIndex }) => (
        <div role="rowheader">
          <a href={`#${index}`} tabIndex={tabIndex}>
            {keys[index]}
          </a>
        </div>
      )}
    />
  );
}

const focused = () => document.activeElement?.textContent;

test('Tab stops once, and arrow keys go from row to row, and no further', async () => {
  const user = userEvent.setup();
  render(
    <>
      <Grid keys={names(1000)} />
      <button type="button">behind</button>
    </>,
  );
  const walk = async (keys: string) => {
    await user.keyboard(keys);
    return focused();
  };
  await user.tab();
  expect(focused()).toBe('row 0');
  expect(await walk('{ArrowUp}')).toBe('row 0');
  expect(await walk('{ArrowDown}{ArrowDown}')).toBe('row 2');
  expect(await walk('{PageDown}')).toBe('row 16');
  expect(await walk('{PageUp}{ArrowDown}')).toBe('row 3');
  expect(await walk('{End}')).toBe('row 999');
  expect(await walk('{ArrowDown}')).toBe('row 999');
  expect(screen.getAllByRole('row').length).toBeLessThan(60);
  // The row that has the focus says where it is.
  expect(document.activeElement?.closest('[role="row"]')?.getAttribute('aria-rowindex')).toBe('1001');
  await user.tab();
  expect(focused()).toBe('behind');
  await user.tab({ shift: true });
  expect(focused()).toBe('row 999');
  expect(await walk('{Home}')).toBe('row 0');
});

test('keys with another in hand are the browser’s own', async () => {
  const user = userEvent.setup();
  render(<Grid keys={names(10)} />);
  await user.tab();
  await user.keyboard('{Control>}{End}{/Control}{Alt>}{ArrowDown}{/Alt}');
  expect(focused()).toBe('row 0');
});

test('the focus stays on its row while others come before it', async () => {
  const user = userEvent.setup();
  const { rerender } = render(<Grid keys={names(5)} />);
  await user.tab();
  await user.keyboard('{ArrowDown}');
  rerender(<Grid keys={['new', ...names(5)].toReversed()} />);
  expect(focused()).toBe('row 1');
  await user.keyboard('{ArrowDown}');
  expect(focused()).toBe('row 0');
});

test('a row that has gone leaves Tab a place to stop', async () => {
  const user = userEvent.setup();
  const { rerender } = render(<Grid keys={names(5)} />);
  await user.tab();
  await user.keyboard('{End}');
  rerender(<Grid keys={names(2)} />);
  await user.tab();
  expect(focused()).toBe('row 0');
  rerender(<Grid keys={[]} />);
  expect(screen.queryByRole('link')).toBeNull();
});

test('what is closed gives the focus to its row, unless that is elsewhere', async () => {
  const user = userEvent.setup();
  const { rerender } = render(<Grid keys={names(500)} open="row 400" />);
  rerender(<Grid keys={names(500)} />);
  expect(focused()).toBe('row 400');

  rerender(
    <>
      <Grid keys={names(500)} open="row 3" />
      <button type="button">elsewhere</button>
    </>,
  );
  await user.click(screen.getByRole('button'));
  rerender(
    <>
      <Grid keys={names(500)} />
      <button type="button">elsewhere</button>
    </>,
  );
  expect(focused()).toBe('elsewhere');
});
