-- Merges standings into the stops, of each target the later, and appends to the log what changed.
-- All or nothing: everything is read and checked before the first write.
--
-- KEYS  stops, log, revision
-- ARGV  "apply", "refill" or "more" (a further part of a refill, of the same epoch), broker, the caller's last known revision, epoch and chain ("0", "-", "-" if none),
--       "fork" when the caller saw the log contradict itself, else "-"; then target, standing, target, standing, …
-- Gives the lineage. Errors: AMNESIA (it forgot, and this is no refill), BROKEN (a standing that is none).

local stops, log, counter = KEYS[1], KEYS[2], KEYS[3]
local mode, broker, fork = ARGV[1], ARGV[2], ARGV[6]
local known = { revision = tonumber(ARGV[3]), epoch = ARGV[4], chain = ARGV[5] }

local function standing(text)
  local at, stop = string.match(text, '^(%d+) ([0-9a-f-]+)$')
  if not at or #at > 15 or (stop ~= '-' and #stop ~= 36) then
    return nil
  end
  return { at = tonumber(at), stop = stop }
end

-- Byte by byte, because `<` on strings asks the locale. '-' sorts before every digit: no stop is least.
local function greater(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x > y
    end
  end
  return #a > #b
end

local function later(new, old)
  if new.at ~= old.at then
    return new.at > old.at
  end
  return greater(new.stop, old.stop)
end

local function number(n)
  return string.format('%.0f', n)
end

-- The lineage: how many changes, in which life of the authority, and the hash over all of them.
local revision, epoch, chain
local text = redis.call('HGET', stops, 'lineage')
if text then
  revision, epoch, chain = string.match(text, '^(%d+) (%S+) (%x+)$')
  if revision and #revision > 15 then
    revision = nil
  end
end
local whole = revision and redis.call('GET', counter) == revision
revision = tonumber(revision or '0')
if whole and epoch == known.epoch then
  if fork == 'fork' or revision < known.revision or (revision == known.revision and chain ~= known.chain) then
    whole = false
  end
end
if mode == 'more' and epoch ~= known.epoch then
  whole = false
end
if not whole then
  if mode ~= 'refill' then
    return redis.error_reply('AMNESIA refill first')
  end
  local now = redis.call('TIME')
  epoch = broker .. '.' .. now[1] .. '.' .. now[2]
  revision = math.max(revision, known.revision) + 1
  chain = redis.sha1hex(epoch)
end

redis.call('XLEN', log) -- fails here, before any write, if it is no stream
local changes = {}
for i = 7, #ARGV, 2 do
  local target, new = ARGV[i], standing(ARGV[i + 1])
  local stored = redis.call('HGET', stops, target)
  local old = stored and standing(stored)
  if stored and not old then
    return redis.error_reply('BROKEN the standing of ' .. target)
  end
  if not new then
    return redis.error_reply('BROKEN the new standing of ' .. target)
  end
  if not old or later(new, old) then
    changes[#changes + 1] = { target, ARGV[i + 1] }
  end
end

for _, change in ipairs(changes) do
  local before = chain
  revision = revision + 1
  chain = redis.sha1hex(before .. ' ' .. change[1] .. ' ' .. change[2])
  redis.call('HSET', stops, change[1], change[2])
  redis.call('XADD', log, 'MAXLEN', '~', '10000', '*', 'revision', number(revision), 'epoch', epoch,
    'before', before, 'chain', chain, 'target', change[1], 'standing', change[2])
end
-- Written even when nothing changed: a replica must not pass for the authority.
text = number(revision) .. ' ' .. epoch .. ' ' .. chain
redis.call('HSET', stops, 'lineage', text)
redis.call('SET', counter, number(revision))
return text
