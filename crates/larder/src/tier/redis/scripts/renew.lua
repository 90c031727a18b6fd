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
-- It was never here before, or has been forgotten since.
local was_forgotten = is_new and ctl[FORGOTTEN .. ARGV[5]] ~= nil
if was_forgotten then redis.call('HDEL', CTL, FORGOTTEN .. ARGV[5]) end
if is_new and (ARGV[7] == '-' or was_forgotten) then
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
if is_time then sweep_forgotten(clock) end
-- How many have said something lately is for people, and may be a little late.
local counted = tonumber(ctl.counted) or 0
if is_new or is_time or clock < counted or clock - counted >= QUIET / 12 then
  local alive, readers = 0, redis.call('HVALS', READERS)
  for _, said in ipairs(readers) do
    local renewed = tonumber(said:match('^%S+ %d+ (%d+)'))
    if renewed and clock - renewed < tonumber(ARGV[2]) then alive = alive + 1 end
  end
  set({alive = text(alive), counted = text(clock)})
end
return {header()}
