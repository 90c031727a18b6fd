-- Readers: who reads, and how far. Answers the header and, unless it is closing, the hash: ids, and what each said.
if ctl.state ~= 'open' then return {header()} end
local readers = redis.call('HGETALL', READERS)
for _ = redis.call('HLEN', READERS) + 1, math.min(expected(), 10000) do
  readers[#readers + 1] = ''
  readers[#readers + 1] = '- 0 0 one that the server has forgotten'
end
return {header(), readers}
