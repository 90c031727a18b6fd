// Rival: bentocache with memory, Redis and its bus, told what to do as `larder-bench shared-instance` is.
// Arguments: the port of the server.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { BentoCache, bentostore } from "bentocache";
import { memoryDriver } from "bentocache/drivers/memory";
import { redisBusDriver, redisDriver } from "bentocache/drivers/redis";

const connection = { host: "127.0.0.1", port: Number(process.argv[2]) };
const store = bentostore()
  .useL1Layer(memoryDriver({ maxSize: "256mb" }))
  .useL2Layer(redisDriver({ connection }))
  .useBus(redisBusDriver({ connection }));
const cache = new BentoCache({ default: "bench", ttl: "1h", stores: { bench: store } });

const VALUE = "the value of a post, ".repeat(98).slice(0, 2048);
const now = () => Number(process.hrtime.bigint());
const keys = (prefix, count) => Array.from({ length: Number(count) }, (_, n) => `${prefix}:${n}`);
let fetches = 0;
const fetch = (ms) => async () => {
  fetches += 1;
  if (ms) await sleep(ms);
  return VALUE;
};
const get = (key) => cache.getOrSet({ key, factory: fetch(0) });

const commands = {
  async ready() {
    await get("ready");
    // It says nothing of when its bus is connected.
    await sleep(500);
    return {};
  },
  async put(prefix, count) {
    for (const key of keys(prefix, count)) await get(key);
    return {};
  },
  async read(prefix, count) {
    const before = fetches;
    const times = [];
    for (const key of keys(prefix, count)) {
      const began = now();
      await get(key);
      times.push(now() - began);
    }
    times.sort((one, other) => one - other);
    return { p50: times[times.length >> 1], fetches: fetches - before };
  },
  async hits(key, count) {
    await get(key);
    const began = now();
    for (let n = 0; n < Number(count); n += 1) await get(key);
    return { each: (now() - began) / Number(count) };
  },
  async crowd(key, readers, ms) {
    const before = fetches;
    let fetched = 0;
    const factory = async () => {
      const value = await fetch(Number(ms))();
      fetched = Math.max(fetched, now());
      return value;
    };
    const read = async () => {
      await cache.getOrSet({ key, factory });
      return now();
    };
    const answers = await Promise.all(Array.from({ length: Number(readers) }, read));
    return { fetches: fetches - before, fetched, last: Math.max(...answers) };
  },
  async purge(key) {
    const at = now();
    await cache.delete({ key });
    return { at };
  },
  async gone(key) {
    const began = now();
    while ((await cache.get({ key })) !== undefined) {
      if (now() - began > 5e9) throw new Error(`${key} is still here`);
      await sleep(1);
    }
    return { at: now() };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [what, ...words] = line.trim().split(/\s+/);
  let answer;
  try {
    answer = await commands[what](...words);
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
