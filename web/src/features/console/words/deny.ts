// How a parameter is left out of a route's keys.

/** Names as larder.toml quotes them, which is as JSON does. What stands in the route already is not to be lost by it. */
export function denyWords(names: readonly string[]): { readonly line: string; readonly beside: string } {
  const quoted = names.map((name) => JSON.stringify(name)).join(', ');
  return {
    line: `\`query_deny = [${quoted}]\` in the route`,
    beside: `Where the route has a \`query_deny\` already, add \`${quoted}\` to its list.`,
  };
}
