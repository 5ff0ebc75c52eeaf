-- Gives the authority to another store of the same name, if it is still in this state.
--
-- KEYS  stops
-- ARGV  the state as it is, the state as it will be
-- Gives 1, or 0 where it is in another state by now.

if redis.call('HGET', KEYS[1], 'state') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'state', ARGV[2])
return 1
