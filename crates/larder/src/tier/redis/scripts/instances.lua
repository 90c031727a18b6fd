-- Instances: who reads the log, how far, and what each says that it holds.
--
-- ARGV: 5 what the caller holds ('': it says nothing of that), then the ids of its readers.
-- Answers the header and, unless it is closing, of each reader: id, generation, number, for how many milliseconds it has
-- said nothing, name, and what it says that it holds ('': nothing).
if ctl.state ~= 'open' then return {header()} end
local INSTANCES = KEYS[9]
if ARGV[5] ~= '' then
  for at = 6, #ARGV do redis.call('HSET', INSTANCES, ARGV[at], ARGV[5]) end
end
local holds, all = {}, redis.call('HGETALL', INSTANCES)
for at = 1, #all, 2 do holds[all[at]] = all[at + 1] end
local clock, rows, readers = readers_clock(), {}, redis.call('HGETALL', READERS)
for at = 1, #readers, 2 do
  local id = readers[at]
  local generation, number, renewed, name = readers[at + 1]:match('^(%S+) (%d+) (%d+) (.*)$')
  if generation then
    local silent = math.max(clock - tonumber(renewed), 0)
    rows[#rows + 1] = {id, generation, number, text(silent), name, holds[id] or ''}
  end
  holds[id] = nil
end
-- Those that are no readers any more.
for id in pairs(holds) do redis.call('HDEL', INSTANCES, id) end
return {header(), rows}
