-- Append: purges into the log, all or none.
--
-- ARGV: 5 '1' if the log may be closing: it is told what it has lost. Then for each purge: its id, the number that it
-- had ('0': none), when it was appended ('0': now), 'h' or 's', the bytes of its entry, how many fences it has, and
-- those, each a field of the hash.
-- Answers the header, and the number of each; only the header where it is closing.
local MAX_LOG, MAX_IDS, MAX_PREFIXES, MAX_SOFT = 65536, 131072, 256, 4
-- Of long purges fewer stay, for clients can cause some: so many bytes, by the mean of about the last 4096.
local MAX_LOG_BYTES, MIN_LOG, OF_MEAN = 33554432, 1024, 4096

-- Beyond the last number that was given nothing can be appended.
local newest = redis.pcall('XREVRANGE', LOG, '+', '-', 'COUNT', 1)
if newest.err or newest[1] and tonumber(newest[1][1]:match('^%d+')) > tonumber(ctl.seq) then begin_anew() end

if ctl.state ~= 'open' and ARGV[5] ~= '1' then return {header()} end

-- 'hard;number:time,number:time', the soft ones in the order of their numbers, later than the hard one. Of more than
-- four the oldest two become one, with the later number and the earlier time.
local function fenced(value, is_hard, number, at)
  if is_hard then return number .. ';' end
  local hard, rest = (value or '0;'):match('^(%d+);(.*)$')
  local soft = {}
  for known, time in (rest or ''):gmatch('(%d+):(%d+)') do soft[#soft + 1] = {known, time} end
  soft[#soft + 1] = {number, at}
  if #soft > MAX_SOFT then
    local oldest = table.remove(soft, 1)
    if tonumber(oldest[2]) < tonumber(soft[1][2]) then soft[1][2] = oldest[2] end
  end
  for place, it in ipairs(soft) do soft[place] = it[1] .. ':' .. it[2] end
  return (hard or number) .. ';' .. table.concat(soft, ',')
end

local function fence(field, is_hard, number, at)
  redis.call('HSET', FENCES, field, fenced(redis.call('HGET', FENCES, field), is_hard, number, at))
  if field:sub(1, 2) ~= 'p:' then return end
  redis.call('ZADD', PREFIXES, number, field)
  if redis.call('ZCARD', PREFIXES) > MAX_PREFIXES then
    local oldest = redis.call('ZPOPMIN', PREFIXES)
    redis.call('HDEL', FENCES, oldest[1])
    if tonumber(oldest[2]) > tonumber(ctl.floor) then ctl.floor = text(tonumber(oldest[2])) end
  end
end

-- Whether the log has it still, under the number that it had.
local function has(number, id)
  if number == '0' then return false end
  local entry = redis.call('XRANGE', LOG, number .. '-0', number .. '-0')[1]
  return entry ~= nil and entry[2][4] == id
end

local numbers, seq, mean = {}, tonumber(ctl.seq), tonumber(ctl.mean) or 0
local at = 6
while ARGV[at] do
  local id, had, since, mode, entry, count = unpack(ARGV, at, at + 5)
  at = at + 6
  local number = redis.call('HGET', IDS, id) or redis.call('HGET', OLDER_IDS, id) or (has(had, id) and had)
  if not number then
    seq = seq + 1
    number = text(seq)
    since = tonumber(since)
    if since == 0 or since > now then since = now end
    since = text(since)
    for field = at, at + count - 1 do fence(ARGV[field], mode == 'h', number, since) end
    mean = mean + (#entry - mean) / OF_MEAN
    local most = math.max(MIN_LOG, math.min(MAX_LOG, math.floor(MAX_LOG_BYTES / math.max(mean, 1))))
    redis.call('XADD', LOG, 'MAXLEN', '~', most, number .. '-0', 'p', ctl.last, 'i', id, 't', since, 'd', entry)
    redis.call('HSET', IDS, id, number)
    ctl.last = number
  end
  numbers[#numbers + 1] = number
  at = at + count
end
if redis.call('HLEN', IDS) >= MAX_IDS then redis.call('RENAME', IDS, OLDER_IDS) end
if seq ~= tonumber(ctl.seq) then set({seq = text(seq), last = ctl.last, floor = ctl.floor, mean = string.format('%.3f', mean)}) end
return {header(), numbers}
