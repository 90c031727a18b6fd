-- Tail: what the log has after a position.
--
-- ARGV: 5 and 6 its generation and number ('' and '0': all there is), 7 how many entries at most.
-- Answers the header; then, unless it is closing, the number that the entries come after, whether they are all there
-- are ('1' or '0'), and them.
if ctl.state ~= 'open' then return {header()} end
local since = tonumber(ctl.floor)
if ARGV[5] == ctl.gen and tonumber(ARGV[6]) > since then since = tonumber(ARGV[6]) end
local most = tonumber(ARGV[7])
local entries = redis.call('XRANGE', LOG, '(' .. text(since) .. '-0', '+', 'COUNT', most + 1)
-- Each names the one before it. After a fork that has a lower number than some readers know: what was between has been
-- appended again.
local before, is_whole = since, #entries <= most
for at, entry in ipairs(entries) do
  local previous = tonumber(entry[2][2])
  if previous ~= before and (at > 1 or previous > since) then is_whole = false end
  before = tonumber(entry[1]:match('^%d+'))
end
if #entries <= most and before < tonumber(ctl.last) then is_whole = false end
if not is_whole then entries = {} end
return {header(), text(since), is_whole and '1' or '0', entries}
