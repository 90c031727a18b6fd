// The admin API as `openapi.json` describes it: whether an answer is as described, and whether the console reads what there is.
// As a text: of that no compiler asks for the file where the page is built alone, as in the image.
import openapi from '../../../../../crates/larder-admin/openapi.json?raw';
import { isRecord } from '../../../wire/decode';
import type { Decoder } from '../../../wire/decode';

type Schema = Readonly<Record<string, unknown>>;

const DESCRIBED: unknown = JSON.parse(openapi);

/** What stands at a place of the description. */
function at(...path: readonly string[]): Schema {
  const found = path.reduce<unknown>((place, name) => (isRecord(place) ? place[name] : undefined), DESCRIBED);
  if (!isRecord(found)) throw new Error(`the description has no ${path.join(' ')}`);
  return found;
}

export function schemaNamed(name: string): Schema {
  return at('components', 'schemas', name);
}

/** What a path answers with status 200, by the description; `null`: with something that is no JSON. */
export function answerOf(method: string, path: string): Schema | null {
  const known = Object.keys(at('paths')).find((pattern) => new RegExp(`^${pattern.replace(/\{\w+\}/g, '[^/]+')}$`).test(path));
  if (known === undefined) throw new Error(`the description has no path ${path}`);
  const content = at('paths', known, method.toLowerCase(), 'responses', '200', 'content');
  const json = content['application/json'];
  return isRecord(json) && isRecord(json['schema']) ? json['schema'] : null;
}

function resolved(schema: Schema): Schema {
  const { $ref } = schema;
  return typeof $ref === 'string' ? schemaNamed($ref.replace('#/components/schemas/', '')) : schema;
}

function schemas(value: unknown): readonly Schema[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

/** What is wrong with a value, in words; none: it is as described. */
export function faultsOf(given: Schema, value: unknown, path = 'the answer'): readonly string[] {
  const schema = resolved(given);
  const all = schemas(schema['allOf']).flatMap((part) => faultsOf(part, value, path));
  for (const choice of ['oneOf', 'anyOf']) {
    const parts = schemas(schema[choice]);
    const tried = parts.map((part) => faultsOf(part, value, path));
    if (parts.length > 0 && !tried.some((faults) => faults.length === 0)) all.push(...(tried.toSorted((a, b) => a.length - b.length)[0] ?? []));
  }
  const { type, properties, required, items, additionalProperties, prefixItems } = schema;
  const types: readonly unknown[] = Array.isArray(type) ? type : type === undefined ? [] : [type];
  if (types.length > 0 && !types.some((one) => isOf(one, value))) return [...all, `${path} is ${JSON.stringify(value)}, and no ${types.join(' or ')}`];
  if (Array.isArray(schema['enum']) && !schema['enum'].includes(value)) all.push(`${path} is ${JSON.stringify(value)}, which is not known`);
  if (isRecord(value)) {
    const missing = (Array.isArray(required) ? required : []).filter((name) => value[String(name)] === undefined);
    all.push(...missing.map((name) => `${path} has no ${String(name)}`));
    for (const [name, part] of Object.entries(value)) {
      const described = isRecord(properties) ? properties[name] : undefined;
      if (isRecord(described)) all.push(...faultsOf(described, part, `${path}.${name}`));
      else if (isRecord(additionalProperties)) all.push(...faultsOf(additionalProperties, part, `${path}.${name}`));
    }
  }
  if (Array.isArray(value)) {
    const ofPlace = schemas(prefixItems);
    const ofAll = isRecord(items) ? items : null;
    value.forEach((part: unknown, place) => {
      const described = ofPlace[place] ?? ofAll;
      if (described !== null) all.push(...faultsOf(described, part, `${path}[${place}]`));
    });
  }
  return all;
}

function isOf(type: unknown, value: unknown): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'object':
      return isRecord(value);
    case 'array':
      return Array.isArray(value);
    case 'integer':
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

/** The fields that a schema has, those of its parts and choices as well. */
function fieldsOf(given: Schema): ReadonlyMap<string, readonly Schema[]> {
  const schema = resolved(given);
  const fields = new Map<string, readonly Schema[]>();
  const add = (name: string, more: readonly Schema[]) => fields.set(name, [...(fields.get(name) ?? []), ...more]);
  if (isRecord(schema['properties'])) {
    for (const [name, field] of Object.entries(schema['properties'])) if (isRecord(field)) add(name, [field]);
  }
  for (const part of ['allOf', 'oneOf', 'anyOf'].flatMap((choice) => schemas(schema[choice]))) {
    for (const [name, more] of fieldsOf(part)) add(name, more);
  }
  return fields;
}

function itemsOf(given: Schema): readonly Schema[] {
  const schema = resolved(given);
  const own = [...schemas(schema['prefixItems']), ...(isRecord(schema['items']) ? [schema['items']] : [])];
  return [...own, ...['allOf', 'oneOf', 'anyOf'].flatMap((choice) => schemas(schema[choice])).flatMap(itemsOf)];
}

/** What a decoder reads that the description does not have: misspelt, or gone. */
export function unknownTo(given: Schema, decoder: Decoder<unknown>, path = 'the answer'): readonly string[] {
  const { reads } = decoder;
  if (reads === undefined || reads.kind === 'values') return [];
  if (reads.kind === 'items') return itemsOf(given).flatMap((item) => reads.items.flatMap((one) => unknownTo(item, one, `${path}[]`)));
  const known = fieldsOf(given);
  // Whoever answers may add to it.
  const isOpen = isRecord(resolved(given)['additionalProperties']);
  return Object.entries(reads.fields).flatMap(([name, field]) => {
    const described = known.get(name);
    if (described === undefined) return isOpen ? [] : [`${path}.${name}`];
    const tried = described.map((one) => unknownTo(one, field, `${path}.${name}`));
    return tried.toSorted((one, other) => one.length - other.length)[0] ?? [];
  });
}
