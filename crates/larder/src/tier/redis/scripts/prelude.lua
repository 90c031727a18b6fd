-- Prelude: what each control script begins with. Which log is it, and has this server had all that was written to it?
--
-- KEYS, of each script, all in one slot: 1 ctl, 2 log, 3 fences, 4 prefixes, 5 ids, 6 older ids, 7 readers, 8 unsigned, 9 instances.
-- ARGV, of each script: 1 the generation of a new log, should one begin; 2 for how many milliseconds a fork waits for
-- those who are to sign; 3 the generation that the caller knows ('': none); 4 the highest number that it knows of that,
-- and how many readers it last had ('0 0'). A script's own arguments begin at 5.
local CTL, LOG, FENCES, PREFIXES = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local IDS, OLDER_IDS, READERS, UNSIGNED = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local KNOWN, HAD = ARGV[4]:match('^(%d+) (%d+)$')
KNOWN, HAD = tonumber(KNOWN), tonumber(HAD)
local SILENT = 3600000
-- Somebody renews all the time. If nobody has for so long, nobody was there, or the server's clock has stepped.
local QUIET = 60000
-- Beside what is known of the log: when a reader was forgotten that may come back. Its id follows.
local FORGOTTEN = 'forgot:'

-- Lua would write large numbers as 1.7e+15.
local function text(number) return string.format('%.0f', number) end

local time = redis.call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(micros / 1000)
local info = redis.call('INFO', 'server') .. redis.call('INFO', 'replication')
if info:match('role:(%a+)') ~= 'master' then return redis.error_reply('READONLY not a primary') end
local run_id, replid = info:match('run_id:(%x+)'), info:match('master_replid:(%x+)')
local replicas = tonumber(info:match('connected_slaves:(%d+)')) or 0
-- The server says how many of them are good only where it takes no writes without some.
local guarded = info:match('min_[%a_]+_good_[%a_]+:') and '1' or '0'

local ctl = {}
local fields = redis.call('HGETALL', CTL)
for at = 1, #fields, 2 do ctl[fields[at]] = fields[at + 1] end

local function set(changes)
  local flat = {}
  for field, value in pairs(changes) do
    ctl[field] = value
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  end
  -- Lua takes some 8000 arguments.
  for at = 1, #flat, 1000 do
    redis.call('HSET', CTL, unpack(flat, at, math.min(at + 999, #flat)))
  end
end

-- Of those who were forgotten, and would by now be silent for as long as anybody waits, nothing need be known.
local function sweep_forgotten(clock)
  for field, at in pairs(ctl) do
    if field:sub(1, #FORGOTTEN) == FORGOTTEN and clock - tonumber(at) >= SILENT then
      redis.call('HDEL', CTL, field)
    end
  end
end

-- One that Lua can count on from.
local function is_number(value) return value and value:match('^%d+$') and tonumber(value) < 2 ^ 52 end

-- The clock by which readers are silent: the server's without its steps. It stands still while nobody renews.
local function readers_clock()
  local beat, skipped = tonumber(ctl.beat) or now, tonumber(ctl.skipped) or 0
  if now < beat or now - beat > QUIET then skipped = skipped + now - beat end
  return now - skipped, skipped
end

local function is_silent(said)
  local renewed = tonumber(said:match('^%S+ %d+ (%d+)'))
  return not renewed or readers_clock() - renewed >= SILENT
end

-- A new log. Nothing of the old one is known any more; who reads it is.
local function begin_anew()
  local seq = text(math.max(micros, (is_number(ctl.seq) and tonumber(ctl.seq) or 0) + 1))
  local beat, skipped, forgotten = ctl.beat, ctl.skipped, {}
  for field, at in pairs(ctl) do
    if field:sub(1, #FORGOTTEN) == FORGOTTEN then forgotten[field] = at end
  end
  redis.call('UNLINK', CTL, LOG, FENCES, PREFIXES, IDS, OLDER_IDS, UNSIGNED)
  ctl = {}
  if next(forgotten) then set(forgotten) end
  set({gen = ARGV[1], seq = seq, last = seq, floor = seq, state = 'open', run_id = run_id, replid = replid,
       changed = text(now), restored = seq, forks = '0', beat = beat, skipped = skipped, newcomers = '0'})
end

-- Those without whose word a fork does not end: who was there when the server was last heard of, as far as it knows. Who was
-- silent then for longer than trust lasts had read no less than others, or nothing that holds for anybody: it is missed
-- only where it had read further than all who were there.
local function signers()
  local readers, newest, farthest = redis.call('HGETALL', READERS), 0, 0
  local said = {}
  for at = 1, #readers, 2 do
    local gen, number, renewed = readers[at + 1]:match('^(%S+) (%d+) (%d+)')
    if renewed and not is_silent(readers[at + 1]) then
      local read = gen == ctl.gen and tonumber(number) or 0
      said[#said + 1] = {id = readers[at], read = read, renewed = tonumber(renewed)}
      newest = math.max(newest, tonumber(renewed))
    end
  end
  local function was_there(reader) return newest - reader.renewed < tonumber(ARGV[2]) end
  for _, reader in ipairs(said) do
    if was_there(reader) then farthest = math.max(farthest, reader.read) end
  end
  local ids = {}
  for _, reader in ipairs(said) do
    if was_there(reader) or reader.read > farthest then ids[#ids + 1] = reader.id end
  end
  return ids
end

-- The server may have lost the last purges. Until all who may know more have said so nothing is told. No number is
-- given twice: what was lost had numbers of which nobody knows how far they went.
local function close()
  if ctl.state ~= 'closing' then set({restored = ctl.seq}) end
  local known = ctl.gen == ARGV[3] and KNOWN or 0
  local seq = math.max(tonumber(ctl.seq) + 1048576, micros, known + 1)
  set({state = 'closing', seq = text(seq), closing_since = text(now), closing_run = run_id, closing_replid = replid,
       newcomers = '0'})
  redis.call('UNLINK', UNSIGNED)
  for _, reader in ipairs(signers()) do redis.call('SADD', UNSIGNED, reader) end
  -- Nobody can tell what was lost.
  if redis.call('SCARD', UNSIGNED) == 0 then begin_anew() end
end

local function open()
  set({state = 'open', run_id = run_id, replid = replid, changed = text(now),
       forks = text((tonumber(ctl.forks) or 0) + 1)})
end

local is_sound = (ctl.gen or ''):match('^%x+$') and #ctl.gen == 32 and (ctl.state == 'open' or ctl.state == 'closing')
for _, field in ipairs({'seq', 'last', 'floor', 'restored', 'forks', 'changed'}) do
  is_sound = is_sound and is_number(ctl[field])
end
if not is_sound then
  begin_anew()
elseif ctl.state == 'closing' then
  local since = tonumber(ctl.closing_since) or 0
  if now < since then
    -- The server's clock has stepped back.
    since = now
    set({closing_since = text(now)})
  end
  if ctl.closing_run ~= run_id or ctl.closing_replid ~= replid then
    -- What was signed so far may be lost again.
    close()
  elseif (ARGV[3] ~= '' and ARGV[3] ~= ctl.gen) or now - since >= tonumber(ARGV[2]) then
    -- Somebody knows a later log than the server, or somebody is missing.
    begin_anew()
  end
elseif ctl.run_id ~= run_id or ctl.replid ~= replid then
  close()
elseif ctl.gen == ARGV[3] and KNOWN > tonumber(ctl.seq) then
  -- The caller has read what the server no longer knows.
  close()
end

-- A server that has lost something may have lost readers too. One that it does not know may be cut off, and serve what
-- it fetches itself. So there are to be as many as somebody knew before, and those who are new since then, until all have
-- come back, or would be silent for an hour.
local function expected()
  local since = tonumber(ctl.expected_since)
  if not since or readers_clock() - since >= SILENT then return 0 end
  -- Some who leave may never have been counted.
  return math.max(tonumber(ctl.expected), 0)
end

local function expect(more)
  if ctl.expected then set({expected = text(tonumber(ctl.expected) + more)}) end
end

local is_of_before = ctl.state == 'closing' or ARGV[3] ~= '' and ARGV[3] ~= ctl.gen
local had = HAD + (tonumber(ctl.newcomers) or 0)
if is_of_before and HAD > 0 and had >= expected() then
  set({expected = text(had), expected_since = text(readers_clock())})
end

-- What each script answers first. The last is random, and of this call alone: so it is known whose answer this is.
local function header()
  return {ctl.state, ctl.gen, ctl.seq, ctl.floor, ctl.restored, ctl.forks, ctl.changed,
          text(math.max(now - tonumber(ctl.changed), 0)), text(micros), text(replicas), ctl.closing_since or '0',
          text(redis.call('HLEN', READERS)), text(expected()), ctl.alive or '0', guarded, ARGV[1]}
end
