-- Prelude: what each control script begins with. Which log is it, and has this server had all that was written to it?
--
-- KEYS, of each script, all in one slot: 1 ctl, 2 log, 3 fences, 4 prefixes, 5 ids, 6 older ids, 7 readers, 8 unsigned.
-- ARGV, of each script: 1 the generation of a new log, should one begin; 2 for how many milliseconds a fork waits for
-- those who are to sign; 3 and 4 the generation and the highest number that the caller knows ('' and '0': none).
-- A script's own arguments begin at 5.
local CTL, LOG, FENCES, PREFIXES = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local IDS, OLDER_IDS, READERS, UNSIGNED = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local SILENT = 3600000

-- Lua would write large numbers as 1.7e+15.
local function text(number) return string.format('%.0f', number) end

local time = redis.call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(micros / 1000)
local info = redis.call('INFO', 'server') .. redis.call('INFO', 'replication')
if info:match('role:(%a+)') ~= 'master' then return redis.error_reply('READONLY not a primary') end
local run_id, replid = info:match('run_id:(%x+)'), info:match('master_replid:(%x+)')
local replicas = tonumber(info:match('connected_slaves:(%d+)')) or 0

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
  redis.call('HSET', CTL, unpack(flat))
end

-- A new log. Nothing of the old one is known any more; who reads it is.
local function begin_anew()
  local seq = text(math.max(micros, (tonumber(ctl.seq) or 0) + 1))
  redis.call('UNLINK', CTL, LOG, FENCES, PREFIXES, IDS, OLDER_IDS, UNSIGNED)
  ctl = {}
  set({gen = ARGV[1], seq = seq, last = seq, floor = seq, state = 'open', run_id = run_id, replid = replid,
       changed = text(now), restored = seq, forks = '0'})
end

-- The server may have lost the last purges. Until all who may know more have said so nothing is told. No number is
-- given twice: what was lost had numbers of which nobody knows how far they went.
local function close()
  if ctl.state ~= 'closing' then set({restored = ctl.seq}) end
  local known = ctl.gen == ARGV[3] and tonumber(ARGV[4]) or 0
  local seq = math.max(tonumber(ctl.seq) + 1048576, micros, known + 1)
  set({state = 'closing', seq = text(seq), closing_since = text(now), closing_run = run_id, closing_replid = replid})
  redis.call('UNLINK', UNSIGNED)
  local readers = redis.call('HGETALL', READERS)
  for at = 1, #readers, 2 do
    local renewed = tonumber(readers[at + 1]:match('^%S+ %d+ (%d+)'))
    if renewed and now - renewed < SILENT then redis.call('SADD', UNSIGNED, readers[at]) end
  end
  -- Nobody can tell what was lost.
  if redis.call('SCARD', UNSIGNED) == 0 then begin_anew() end
end

local function open()
  set({state = 'open', run_id = run_id, replid = replid, changed = text(now),
       forks = text((tonumber(ctl.forks) or 0) + 1)})
end

if not (ctl.gen and tonumber(ctl.seq) and tonumber(ctl.last) and tonumber(ctl.floor)) then
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
elseif ctl.gen == ARGV[3] and tonumber(ARGV[4]) > tonumber(ctl.seq) then
  -- The caller has read what the server no longer knows.
  close()
end

-- What each script answers first.
local function header()
  return {ctl.state, ctl.gen, ctl.seq, ctl.floor, ctl.restored, ctl.forks, ctl.changed,
          text(math.max(now - tonumber(ctl.changed), 0)), text(micros), text(replicas), ctl.closing_since or '0'}
end
