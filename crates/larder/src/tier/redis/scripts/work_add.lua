-- Adds to a list of work that processes share.
--
-- KEYS 1: what is known of the list, 2: the list   ARGV 1: the generation of a new list; then each piece of work
-- Answers the generation, and the number of each piece.
local MOST, MOST_BYTES, OF_MEAN = 65536, 33554432, 1024

local function text(number) return string.format('%.0f', number) end

local time = redis.call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local run = redis.call('INFO', 'server'):match('run_id:(%x+)')
local generation, last, mean, ran = unpack(redis.call('HMGET', KEYS[1], 'gen', 'last', 'mean', 'run'))
if not generation then
  -- What is left of another list has no place in this one.
  redis.call('UNLINK', KEYS[2])
  generation, last = ARGV[1], '0'
elseif ran ~= run then
  -- Another server, or this one again: it may have lost the last that was added. Whoever added something adds it again.
  generation = ARGV[1]
end
local seq = tonumber(last) or 0
mean = tonumber(mean) or 0
local numbers = {}
for at = 2, #ARGV do
  local number = math.max(micros, seq + 1)
  mean = mean + (#ARGV[at] - mean) / OF_MEAN
  local most = math.max(256, math.min(MOST, math.floor(MOST_BYTES / math.max(mean, #ARGV[at], 1))))
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', most, text(number) .. '-0', 'p', text(seq), 'd', ARGV[at])
  seq = number
  numbers[#numbers + 1] = text(number)
end
redis.call('HSET', KEYS[1], 'gen', generation, 'run', run, 'last', text(seq), 'mean', string.format('%.3f', mean))
return {generation, numbers}
