-- Sign: the caller has told what it knows of what the server has lost. The last one opens the log again: of those that
-- the server knows, and of those that it has forgotten.
--
-- ARGV: 5 '1' if it knew all that it had ever read after what the server still has, '0' if it may have forgotten some;
-- then the ids of the readers for which it signs.
-- Answers the header.
if ctl.state ~= 'closing' then return {header()} end
local signed = 0
for at = 6, #ARGV do
  signed = signed + redis.call('SREM', UNSIGNED, ARGV[at])
  redis.call('HSETNX', READERS, ARGV[at], '- 0 ' .. text(readers_clock()) .. ' ')
end
if signed > 0 and ARGV[5] ~= '1' then
  begin_anew()
elseif redis.call('SCARD', UNSIGNED) == 0 and redis.call('HLEN', READERS) >= expected() then
  open()
end
return {header()}
