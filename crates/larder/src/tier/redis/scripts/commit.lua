-- Puts a record in its place, and lets go what is too much. The server keeps a note in the hash beside the records: of
-- each, in the order of their commits, its field, its body, the number of its pieces, and when it is over. So nothing
-- has to know the inside of records.
--
-- KEYS 1: the records of a key
-- ARGV 1: the field   2: the record   3: how many may stay   4: its lifetime, ms   5: its body or ''   6: pieces
-- Answers with the bodies that no record names any more, each with the number of its pieces.

local NOTE = '\255'
local field, body, pieces = ARGV[1], ARGV[5], tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A note that is not as it was written is not worth an error: all that it was about goes.
local function noted()
  if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return nil end
  local note = redis.call('HGET', KEYS[1], NOTE)
  if not note then return nil end
  local is_read, records = pcall(cmsgpack.unpack, note)
  if not is_read or type(records) ~= 'table' then return nil end
  for _, record in ipairs(records) do
    if type(record) ~= 'table' or type(record[1]) ~= 'string' or type(record[2]) ~= 'string'
      or type(record[3]) ~= 'number' or type(record[4]) ~= 'number' then return nil end
  end
  return records
end

local records = noted()
if not records then
  redis.call('UNLINK', KEYS[1])
  records = {}
end

local stay, go = {}, {}
-- Fields that no cache has written make it one that nobody reads.
if redis.call('HLEN', KEYS[1]) > #records + 1 then
  redis.call('UNLINK', KEYS[1])
  records, go = {}, records
end
for _, record in ipairs(records) do
  if record[1] == field then
    go[#go + 1] = record
  elseif record[4] <= now then
    redis.call('HDEL', KEYS[1], record[1])
    go[#go + 1] = record
  else
    stay[#stay + 1] = record
  end
end
stay[#stay + 1] = { field, body, pieces, now + tonumber(ARGV[4]) }
while #stay > tonumber(ARGV[3]) and #stay > 1 do
  local oldest = table.remove(stay, 1)
  redis.call('HDEL', KEYS[1], oldest[1])
  go[#go + 1] = oldest
end

local last, is_named = 0, {}
for _, record in ipairs(stay) do
  last = math.max(last, record[4])
  is_named[record[2]] = true
end
redis.call('HSET', KEYS[1], field, ARGV[2], NOTE, cmsgpack.pack(stay))
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last))

local bodies = {}
for _, record in ipairs(go) do
  if record[2] ~= '' and not is_named[record[2]] then
    bodies[#bodies + 1] = record[2]
    bodies[#bodies + 1] = record[3]
  end
end
return bodies
