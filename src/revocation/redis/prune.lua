-- Removes standings that are still the ones that were judged: what changed meanwhile stays.
--
-- KEYS  stops
-- ARGV  target, standing, target, standing, …
-- Gives how many it removed. The state counts changes, and this is none.

local removed = 0
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    removed = removed + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return removed
