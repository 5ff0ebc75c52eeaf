-- Merges items into the stops, of each target the later standing, and appends to the log what changed.
-- All or nothing: everything is read and checked before the first write.
--
-- KEYS  stops, log
-- ARGV  "part" or "last", the origin of the caller's store, the life to begin where there is none,
--       the state on which the caller builds as "<life> <revision> <mark>" ("-" for none), the serial that it must have reached,
--       the caller's revision, mark and floor, "anew" to begin another life or "on"; then field, value, field, value, ...
-- Gives {1, state}, {0, state or ""} where the authority is not in the state on which the caller builds, or {2, state} where the
-- life was begun in another history of the server's writes than the one that it is in now.
-- Errors: OTHER (it serves another store), BROKEN (a value that is none).

local stops, log = KEYS[1], KEYS[2]
local mode, mine, new_life, base, reached = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local to_revision, to_mark, to_floor, anew = ARGV[6], ARGV[7], ARGV[8], ARGV[9] == 'anew'

-- The server names the history of its writes, and another one begins when a replica takes over or the server is restarted: the last
-- writes may be lost then. A life carries the name of the history that it was begun in, so that no serial of it names two writes.
local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or '-'
new_life = new_life .. '@' .. history

local function number(n)
  return string.format('%.0f', n)
end

local function standing(text)
  local changed, stopped, stop = string.match(text, '^(%d+) (%d+) ([0-9a-f-]+)$')
  if not changed or #changed > 15 or #stopped > 15 or (stop ~= '-' and #stop ~= 36) then
    return nil
  end
  return tonumber(changed), stop
end

local text = redis.call('HGET', stops, 'state')
local origin, life, serial, revision, mark, floor
if text then
  origin, life, serial, revision, mark, floor = string.match(text, '^(%S+) (%S+) (%d+) (%d+) (%x+) (%d+)$')
  if not origin or #serial > 15 or #revision > 15 or #floor > 15 then
    return redis.error_reply('BROKEN the state')
  end
  if origin ~= mine then
    return redis.error_reply('OTHER ' .. origin)
  end
end
local now = text and (life .. ' ' .. revision .. ' ' .. mark) or '-'
if now ~= base or (text and tonumber(serial) < reached) then
  return { 0, text or '' }
end
if text and not anew and string.match(life, '@(%S+)$') ~= history then
  return { 2, text }
end
if not text then
  life, serial, revision, mark, floor = new_life, '0', '0', string.rep('0', 64), '0'
elseif anew then
  life, serial = new_life, '0'
end

redis.call('XLEN', log) -- fails here, before any write, if it is no stream
local changes = {}
local given = {} -- field → the standing that this part gives it
local waiting = {} -- field → the stop without a number that it will hold, or false
for i = 10, #ARGV, 2 do
  local field, value = ARGV[i], ARGV[i + 1]
  local stored = redis.call('HGET', stops, field)
  if string.sub(field, 1, 11) == 'unnumbered:' then
    local over = string.match(value, '^%- (.+)$')
    if waiting[field] == nil then
      waiting[field] = stored
    end
    if over and waiting[field] == over then
      changes[#changes + 1] = { field, value, true }
      waiting[field] = false
    elseif not over and not waiting[field] then
      -- One is enough: whoever waits with another of the same target gives it when this one is gone.
      changes[#changes + 1] = { field, value, false }
      waiting[field] = value
    end
  else
    local new, new_stop = standing(value)
    local old, old_stop = nil, nil
    stored = given[field] or stored
    if stored then
      old, old_stop = standing(stored)
      if not old then
        return redis.error_reply('BROKEN the standing of ' .. field)
      end
    end
    if not new then
      return redis.error_reply('BROKEN the new standing of ' .. field)
    end
    -- Of two of one number the one that stops, of two that stop the later id: as the domain merges them.
    if not old or new > old or (new == old and new_stop > old_stop) then
      changes[#changes + 1] = { field, value, false }
      given[field] = value
    end
  end
end

local lines = {}
for _, change in ipairs(changes) do
  if change[3] then
    redis.call('HDEL', stops, change[1])
  else
    redis.call('HSET', stops, change[1], change[2])
  end
  lines[#lines + 1] = change[1] .. ' ' .. change[2]
end
local point_moves = mode == 'last' and (revision ~= to_revision or mark ~= to_mark)
if mode == 'last' then
  revision, mark = to_revision, to_mark
end
local floor_moves = tonumber(to_floor) > tonumber(floor)
if floor_moves then
  floor = to_floor
end
if #lines > 0 or point_moves or floor_moves or anew or not text then
  serial = number(tonumber(serial) + 1)
end
local state = table.concat({ mine, life, serial, revision, mark, floor }, ' ')
if state ~= text then
  redis.call('XADD', log, 'MAXLEN', '~', '10000', '*', 'state', state, 'items', table.concat(lines, '\n'))
end
-- Written even when nothing changed: a replica must not pass for the authority.
redis.call('HSET', stops, 'state', state)
return { 1, state }
