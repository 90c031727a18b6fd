-- Forget: no purge waits any longer for the readers of a name.
--
-- ARGV: 5 the name, 6 '1': also for one that has said something within the time that trust may last, and a margin.
-- Answers the header and, unless it is closing, how many are forgotten, how many are alive and are not, and for how many
-- milliseconds the one of those has said nothing that was heard of last. While the log is closing it waits for all who
-- may know what it has lost, and nobody is forgotten.
if ctl.state ~= 'open' then return {header()} end
local clock = readers_clock()
local forgotten, alive, longest, is_unsafe = 0, 0, 0, false
local readers = redis.call('HGETALL', READERS)
for at = 1, #readers, 2 do
  local renewed, name = readers[at + 1]:match('^%S+ %d+ (%d+) (.*)$')
  if name == ARGV[5] then
    local silent = clock - tonumber(renewed)
    local is_alive = silent < tonumber(ARGV[2])
    if is_alive and ARGV[6] ~= '1' then
      alive = alive + 1
      longest = math.max(longest, silent)
    else
      redis.call('HDEL', READERS, readers[at])
      -- Should it come back, it counts again.
      set({[FORGOTTEN .. readers[at]] = text(clock)})
      expect(-1)
      forgotten = forgotten + 1
      is_unsafe = is_unsafe or is_alive
    end
  end
end
-- What it may serve on trust is over when this is long enough ago.
if is_unsafe then set({changed = text(now)}) end
sweep_forgotten(clock)
return {header(), text(forgotten), text(alive), text(longest)}
