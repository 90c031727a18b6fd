-- Takes, renews or gives back the right to work on a list, says how far the work is, and reads on.
--
-- KEYS 1: what is known of the list, 2: the list   ARGV: 1 who asks, 2 the token that he was given ('0': none),
-- 3 for how many milliseconds the right lasts ('0': it is given back), 4 the generation of a new list, 5 the number after
-- which to read, 6 how many pieces at most; then fields and values of what he says, which all may read.
--
-- Each new holder has a higher token. What one says who is no longer the holder is not taken.
-- Answers the token ('0': somebody else has the right), the generation, the last number, all that was said, and the pieces:
-- number, the number before it, bytes.
local function text(number) return string.format('%.0f', number) end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local length = tonumber(ARGV[3])
local run = redis.call('INFO', 'server'):match('run_id:(%x+)')
local generation, holder, token, expires, ran =
  unpack(redis.call('HMGET', KEYS[1], 'gen', 'holder', 'token', 'until', 'run'))
if not generation then
  redis.call('UNLINK', KEYS[2])
  generation, holder, token, expires = ARGV[4], false, false, false
  redis.call('HSET', KEYS[1], 'gen', generation, 'run', run, 'last', '0')
elseif ran ~= run then
  -- Another server, or this one again: it may have lost the last that was added. Whoever added something adds it again.
  generation = ARGV[4]
  redis.call('HSET', KEYS[1], 'gen', generation, 'run', run)
end
expires = tonumber(expires) or 0
local is_held = holder == ARGV[1] and token == ARGV[2]
local said = {}
if is_held then
  for at = 7, #ARGV, 2 do said[#said + 1] = 'say:' .. ARGV[at]; said[#said + 1] = ARGV[at + 1] end
-- A clock that was set back must not keep the right for ever.
elseif length > 0 and (expires <= now or expires > now + 60000) then
  token = text((tonumber(token) or 0) + 1)
  is_held = true
end
if not is_held then
  token = '0'
else
  redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'token', token, 'until', text(length > 0 and now + length or 0), unpack(said))
end
local all, told = redis.call('HGETALL', KEYS[1]), {}
local last = '0'
for at = 1, #all, 2 do
  if all[at] == 'last' then last = all[at + 1] end
  if all[at]:sub(1, 4) == 'say:' then
    told[#told + 1] = all[at]:sub(5)
    told[#told + 1] = all[at + 1]
  end
end
local pieces, most = {}, tonumber(ARGV[6])
if is_held and most > 0 then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '(' .. ARGV[5] .. '-0', '+', 'COUNT', most)) do
    pieces[#pieces + 1] = {entry[1]:match('^%d+'), entry[2][2], entry[2][4]}
  end
end
return {token, generation, last, told, pieces}
