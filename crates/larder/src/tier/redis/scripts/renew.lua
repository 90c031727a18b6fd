-- Renew: a reader says how far it has read.
--
-- ARGV: 5 its id, 6 its name, 7 and 8 the generation and number ('-' and '0': nothing yet).
-- Answers the header. While the log is closing nobody registers.
if ctl.state ~= 'open' then return {header()} end
local clock, skipped = readers_clock()
local said = ARGV[7] .. ' ' .. ARGV[8] .. ' ' .. text(clock) .. ' ' .. ARGV[6]
local is_new = redis.call('HSET', READERS, ARGV[5], said) == 1
local swept, beat = tonumber(ctl.swept) or 0, tonumber(ctl.beat) or 0
local is_time = clock < swept or clock - swept >= QUIET
-- A step is longer than this.
if is_time or now < beat or now - beat >= QUIET / 6 then
  set({beat = text(now), skipped = text(skipped), swept = text(is_time and clock or swept)})
end
-- It was never here before.
if is_new and ARGV[7] == '-' then
  set({newcomers = text((tonumber(ctl.newcomers) or 0) + 1)})
  expect(1)
end
if is_new or is_time then
  -- Of those who are silent for an hour nobody hears any more.
  local readers = redis.call('HGETALL', READERS)
  for at = 1, #readers, 2 do
    if is_silent(readers[at + 1]) then
      redis.call('HDEL', READERS, readers[at])
      expect(-1)
    end
  end
end
return {header()}
