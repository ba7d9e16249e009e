"""The scripts for orders as the last version of the Redis inbox had them; do not change them.

A process of that version may run beside a new one, and what it wrote is read by new ones.
"""

from __future__ import annotations

from typing import Final

_NOW: Final = """
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
"""

#: ``ended`` keeps an order or message for ``keep`` ms more, and drops expired names from the set.
_END: Final = """
local function ended(key, sets, member, keep)
  redis.call('PEXPIRE', key, keep)
  redis.call('ZREM', sets.due, member)
  redis.call('ZREM', sets.open, member)
  redis.call('ZREMRANGEBYSCORE', sets.ended, '-inf', now())
  redis.call('ZADD', sets.ended, now() + keep, member)
end
"""

#: KEYS of orders: the hash, its lease, then the sets. ARGV[1]: the name in the sets.
_ORDER: Final = """
local order, lease, name = KEYS[1], KEYS[2], ARGV[1]
local sets = {due = KEYS[3], open = KEYS[4], ended = KEYS[5]}
local function ours(token)
  local kept = redis.call('HMGET', order, 'state', 'token')
  return kept[1] == 'HELD' and kept[2] == token
end
local function let_go()
  redis.call('HINCRBY', order, 'token', 1)
  redis.call('DEL', lease)
end
"""

_ORDERS: Final = _NOW + _END + _ORDER

#: lease ms, payload, first_seen, facts -> token (0: not free), the hash before, the lease left
CLAIM: Final = (
    _ORDERS
    + """
local before = redis.call('HGETALL', order)
local state = redis.call('HGET', order, 'state')
local left = redis.call('PTTL', lease)
if state and (left > 0 or (state ~= 'HELD' and state ~= 'NOT_PAID')) then
  return {0, before, left}
end
local token = redis.call('HINCRBY', order, 'token', 1)
redis.call('HSETNX', order, 'failures', 0)
redis.call('HSET', order, 'state', 'HELD', 'payload', ARGV[3], 'first_seen', ARGV[4],
  'facts', ARGV[5])
redis.call('HDEL', order, 'decided')
redis.call('PERSIST', order)
redis.call('SET', lease, token, 'PX', ARGV[2])
redis.call('ZREM', sets.ended, name)
redis.call('ZADD', sets.due, now() + ARGV[2], name)
redis.call('ZADD', sets.open, ARGV[4], name)
return {token, before, left}
"""
)

#: token, lease ms -> 1 where it is ours
RENEW: Final = (
    _ORDERS
    + """
if not ours(ARGV[2]) then return 0 end
redis.call('SET', lease, ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', sets.due, now() + ARGV[3], name)
return 1
"""
)

#: token, keep ms -> 1 where it was ours; again, where a client repeats what it got no reply to
COMPLETE: Final = (
    _ORDERS
    + """
local kept = redis.call('HMGET', order, 'state', 'token')
if kept[1] == 'DONE' and kept[2] == ARGV[2] then return 1 end
if not ours(ARGV[2]) then return 0 end
redis.call('HSET', order, 'state', 'DONE')
redis.call('DEL', lease)
ended(order, sets, name, ARGV[3])
return 1
"""
)

#: token, retry ms, failed -> how many failures there are now; -1 where it was not ours
RELEASE: Final = (
    _ORDERS
    + """
if not ours(ARGV[2]) then return -1 end
let_go()
redis.call('ZADD', sets.due, now() + ARGV[3], name)
return redis.call('HINCRBY', order, 'failures', ARGV[4])
"""
)

#: token, reason -> 1 where it was ours
QUARANTINE: Final = (
    _ORDERS
    + """
if not ours(ARGV[2]) then return 0 end
let_go()
redis.call('HSET', order, 'state', 'QUARANTINED', 'reason', ARGV[3])
redis.call('ZREM', sets.due, name)
return 1
"""
)

#: token, keep ms -> 1 where it was ours
GIVE_UP: Final = (
    _ORDERS
    + """
if not ours(ARGV[2]) then return 0 end
let_go()
redis.call('HSET', order, 'state', 'NOT_PAID')
ended(order, sets, name, ARGV[3])
return 1
"""
)

#: keep ms, payload, first_seen, facts -> 1 where it is new, or was given up (another decision)
NOT_PAID: Final = (
    _ORDERS
    + """
local function decision(facts) return cjson.decode(facts)[5] end
local kept = redis.call('HMGET', order, 'state', 'facts')
if kept[1] and (kept[1] ~= 'NOT_PAID' or decision(kept[2]) == decision(ARGV[5])) then
  return 0
end
redis.call('HSETNX', order, 'token', 0)
redis.call('HSETNX', order, 'failures', 0)
redis.call('HDEL', order, 'decided')
redis.call('HSET', order, 'state', 'NOT_PAID', 'payload', ARGV[3], 'first_seen', ARGV[4],
  'facts', ARGV[5])
ended(order, sets, name, ARGV[2])
return 1
"""
)

#: keep ms, whether the effect is there, what a person decided or '' -> 1 where there was something
#: to decide
MARK_ORDER: Final = (
    _ORDERS
    + """
if redis.call('HGET', order, 'state') ~= 'QUARANTINED' then return 0 end
if ARGV[3] == '1' then
  redis.call('HSET', order, 'state', 'DONE')
  ended(order, sets, name, ARGV[2])
else
  redis.call('HSET', order, 'state', 'HELD')
  redis.call('ZADD', sets.due, 0, name)
  if ARGV[4] ~= '' then redis.call('HSET', order, 'decided', ARGV[4]) end
end
return 1
"""
)

#: KEYS due, open; limit -> the names of what is due, oldest first_seen first
DUE: Final = (
    _NOW
    + """
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now(), 'LIMIT', 0, 10000)
local seen = {}
for _, name in ipairs(names) do
  seen[name] = tonumber(redis.call('ZSCORE', KEYS[2], name) or 0)
end
table.sort(names, function(a, b) return seen[a] < seen[b] end)
local oldest = {}
for i = 1, math.min(#names, tonumber(ARGV[1])) do oldest[i] = names[i] end
return oldest
"""
)
