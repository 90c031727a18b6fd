-- Renew: a reader says how far it has read.
--
-- ARGV: 5 its id, 6 its name, 7 and 8 the generation and number ('-' and '0': nothing yet).
-- Answers the header. While the log is closing nobody registers.
if ctl.state ~= 'open' then return {header()} end
local said = ARGV[7] .. ' ' .. ARGV[8] .. ' ' .. text(now) .. ' ' .. ARGV[6]
if redis.call('HSET', READERS, ARGV[5], said) == 1 then
  -- Somebody new: of those who are silent for an hour nobody hears any more.
  local readers = redis.call('HGETALL', READERS)
  for at = 1, #readers, 2 do
    local renewed = tonumber(readers[at + 1]:match('^%S+ %d+ (%d+)'))
    if not renewed or now - renewed >= SILENT then redis.call('HDEL', READERS, readers[at]) end
  end
end
return {header()}
