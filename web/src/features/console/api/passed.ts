// Single requests as they are answered: events `requests`. Of many, some.
import { count, list, orElse, shape } from '../../../wire/decode';
import type { Decoded } from '../../../wire/decode';
import { pastShape } from './explain';

export const passedShape = shape({ requests: list(pastShape), left_out: orElse(count, 0) });
export type Passed = Decoded<typeof passedShape>;
