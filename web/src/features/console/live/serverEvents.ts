// Server-sent events, read from a body that is fetched: an `EventSource` could show no token but in its address.

export interface ServerEvent {
  readonly event: string;
  readonly data: string;
  readonly id: string;
}

/** One event may have so many characters; what goes on for longer is no such stream. */
const MOST_CHARACTERS = 4 << 20;

/** Takes a stream piece by piece, wherever it was cut, and gives the events that are whole. */
export class EventParser {
  #rest = '';

  /** @throws RangeError where an event does not end */
  push(piece: string): readonly ServerEvent[] {
    this.#rest += piece;
    if (this.#rest.length > MOST_CHARACTERS) throw new RangeError('an event of the stream has no end');
    // A carriage return at the very end may be half of a line's end.
    const half = this.#rest.endsWith('\r') ? '\r' : '';
    const text = this.#rest.slice(0, this.#rest.length - half.length).replace(/\r\n?/g, '\n');
    const end = text.lastIndexOf('\n\n');
    this.#rest = (end === -1 ? text : text.slice(end + 2)) + half;
    return end === -1 ? [] : text.slice(0, end).split(/\n{2,}/).flatMap(readEvent);
  }
}

function readEvent(block: string): readonly ServerEvent[] {
  let event = 'message';
  let id = '';
  const data: string[] = [];
  for (const line of block.split('\n')) {
    // A line that begins with a colon is a comment, which keeps the connection open.
    const [, field, value] = /^([^:]+)(?:: ?([^]*))?$/.exec(line) ?? [];
    if (field === 'event') event = value ?? '';
    if (field === 'data') data.push(value ?? '');
    if (field === 'id') id = value ?? '';
  }
  return data.length === 0 ? [] : [{ event, data: data.join('\n'), id }];
}
